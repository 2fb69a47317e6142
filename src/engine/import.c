/* import - a root file system as tar becomes an image of one layer. */
#include <errno.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/archive.h"
#include "engine/load.h"
#include "engine/store.h"

static int import_fd(struct engine *engine, int fd, const char *path, const struct strv *references,
	struct digest *ret_id, struct err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "\"%s\" is no tar archive", path);
	const struct load_layer layer = { .name = path,
		.fd = fd,
		.size = (uint64_t)st.st_size,
		.detect = true };
	AUTO_DONE(state_image) image = { 0 };
	int r = load_layers(engine, &layer, 1, &image, err);
	if (r < 0)
		return r;
	int64_t now_ns = clock_wall_ns();
	AUTO_FREE char *comment = text_format("Imported from %s", path);
	AUTO_FREE char *config = image_config_make(&image.layers[0].diff_id, now_ns, comment);
	const struct load_image wanted = { .config = view_of(config),
		.created_ns = now_ns,
		.references = references };
	r = load_image(engine, &wanted, &image, err);
	if (r == 0)
		*ret_id = image.id;
	return r;
}

int engine_import(struct engine *engine, const char *path, const char *reference,
	struct digest *ret_id, struct err *err)
{
	AUTO_DONE(strv) references = { 0 };
	AUTO_DONE(image_ref) ref = { 0 };
	int r = 0;
	if (reference != NULL) {
		r = image_ref_parse(reference, &ref, err);
		if (r == 0 && ref.tag == NULL)
			r = err_set(err, ERR_INVALID, "\"%s\" has a digest: give a name",
				reference);
		if (r < 0)
			return r;
		strv_take(&references, image_ref_full(&ref));
	}
	AUTO_CLOSE int fd = -1;
	struct store_marker marker = { .fd = -1 };
	r = archive_open_bytes(engine, path, &fd, err);
	if (r == 0)
		r = store_begin(engine, &marker, err);
	if (r < 0)
		return r;
	r = import_fd(engine, fd, path, &references, ret_id, err);
	store_end(engine, &marker);
	if (r < 0)
		(void)!store_sweep(engine, NULL);
	return r;
}
