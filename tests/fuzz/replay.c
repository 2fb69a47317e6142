/* replay - feeds the seeds of one fuzz target to it, so that what fuzzing found once is tested for
 * ever, also where there is no libFuzzer. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *folder, const char *name)
{
	char *path = NULL;
	if (asprintf(&path, "%s/%s", folder, name) < 0)
		return -ENOMEM;
	FILE *file = fopen(path, "rbe");
	free(path);
	if (file == NULL)
		return -errno;

	/* An allocation of the exact size lets the sanitizer see a read beyond the end. */
	uint8_t *data = NULL;
	size_t size = 0;
	FILE *memory = open_memstream((char **)&data, &size);
	for (int byte = getc(file); byte != EOF; byte = getc(file))
		putc(byte, memory);
	fclose(memory);
	fclose(file);
	uint8_t *exact = malloc(size > 0 ? size : 1);
	memcpy(exact, data, size);
	free(data);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	return 0;
}

int main(int argc, char **argv)
{
	DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
	if (folder == NULL) {
		fprintf(stderr, "usage: %s FOLDER-OF-SEEDS\n", argv[0]);
		return 2;
	}
	int files = 0;
	for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
		if (entry->d_name[0] == '.')
			continue;
		int r = replay_file(argv[1], entry->d_name);
		if (r < 0) {
			fprintf(stderr, "%s/%s: %s\n", argv[1], entry->d_name, strerror(-r));
			return 1;
		}
		files++;
	}
	closedir(folder);
	printf("%d seeds\n", files);
	return files > 0 ? 0 : 1;
}
