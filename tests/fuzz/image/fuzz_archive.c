/* image_archive_read on an archive made from the input:
 *
 *	input   = member *( 0x01 member )
 *	member  = name "=" bytes      a member of that name
 *	        | bytes               the blob of these bytes, without '=' in its first line
 *
 * Digests would keep a mutated input from ever being parsed, so 0x02 and a letter ('a' is the first
 * blob) in a member stand for the hex digest of that earlier blob, 0x03 and a letter for its size.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMBERS_MAX = 26 };

struct archive {
	char *names[MEMBERS_MAX];         /* owned */
	struct text bytes[MEMBERS_MAX];   /* owned */
	struct digest blobs[MEMBERS_MAX]; /* in the order of blobs */
	size_t sizes[MEMBERS_MAX];
	size_t len, blobs_len;
};

static void expand(const struct archive *a, struct view from, struct text *to)
{
	for (size_t i = 0; i < from.len; i++) {
		char mark = from.data[i];
		size_t blob = i + 1 < from.len ? (size_t)(unsigned char)from.data[i + 1] - 'a' : 26;
		if ((mark != 2 && mark != 3) || blob >= a->blobs_len) {
			text_add(to, &mark, 1);
			continue;
		}
		if (mark == 2)
			text_puts(to, a->blobs[blob].hex);
		else
			text_printf(to, "%zu", a->sizes[blob]);
		i++;
	}
}

static void add(struct archive *a, struct view member)
{
	struct view bytes = member;
	struct view first_line = member;
	first_line = view_cut(&first_line, '\n');
	bool is_named = first_line.len > 0 && memchr(first_line.data, '=', first_line.len) != NULL;
	struct view name = is_named ? view_cut(&bytes, '=') : (struct view){ 0 };
	struct text *text = &a->bytes[a->len];
	expand(a, bytes, text);
	if (is_named) {
		a->names[a->len++] = view_dup(name);
		return;
	}
	CHECK(digest_of(view_of_text(text), &a->blobs[a->blobs_len], NULL) >= 0);
	a->names[a->len++] = text_format("blobs/sha256/%s", a->blobs[a->blobs_len].hex);
	a->sizes[a->blobs_len++] = text->len;
}

static int member_read(void *context, const char *name, uint64_t max_bytes, struct text *ret_text,
	struct err *err)
{
	const struct archive *a = context;
	for (size_t i = 0; i < a->len; i++)
		if (strcmp(a->names[i], name) == 0) {
			if (a->bytes[i].len > max_bytes)
				return err_set(err, ERR_LIMIT, "too long");
			text_add(ret_text, text_string(&a->bytes[i]), a->bytes[i].len);
			return 0;
		}
	return err_set(err, ERR_NOT_FOUND, "absent");
}

static bool member_has(void *context, const char *name)
{
	const struct archive *a = context;
	for (size_t i = 0; i < a->len; i++)
		if (strcmp(a->names[i], name) == 0)
			return true;
	return false;
}

static void check_plan(const struct image_plan *plan)
{
	struct digest digest;
	struct view config = { plan->config, plan->config_len };
	CHECK(digest_of(config, &digest, NULL) >= 0 && digest_is(&digest, &plan->id));
	CHECK((plan->manifest != NULL) == digest_is_set(&plan->manifest_digest));
	CHECK(plan->references.len <= LIMIT_IMAGE_REFERENCES);
	for (size_t i = 0; i < plan->layers_len; i++) {
		CHECK(plan->layers[i].member != NULL);
		CHECK(plan->layers[i].member[0] != '/');
		CHECK(strstr(plan->layers[i].member, "/../") == NULL);
		CHECK(digest_is_set(&plan->layers[i].diff_id));
		CHECK((plan->manifest != NULL) == (plan->layers[i].media_type != NULL));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct archive a = { 0 };
	struct view rest = { (const char *)data, size };
	while (rest.data != NULL && a.len < MEMBERS_MAX)
		add(&a, view_cut(&rest, 1));

	const struct image_members members = { &a, member_read, member_has };
	struct err err = { 0 };
	struct image_archive archive = { 0 };
	if (image_archive_read(&members, &archive, &err) < 0)
		CHECK(err.kind != ERR_NONE && archive.images == NULL);
	else
		CHECK(archive.len > 0);
	for (size_t i = 0; i < archive.len; i++)
		check_plan(&archive.images[i]);

	image_archive_done(&archive);
	for (size_t i = 0; i < a.len; i++) {
		free(a.names[i]);
		text_done(&a.bytes[i]);
	}
	return 0;
}
