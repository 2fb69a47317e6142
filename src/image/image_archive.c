/* Which kind an archive is, its members say: "oci-layout" makes it an OCI image layout,
 * "manifest.json" a docker-archive.  Docker 25 and later write both into one archive; the layout
 * has more to verify and is read, and manifest.json gives names to images it leaves without. */
#include "image/image.h"

#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "image/image_layout.h"
#include "image/image_plan.h"
#include "image/image_source.h"

void image_archive_done(struct image_archive *archive)
{
	for (size_t i = 0; i < archive->len; i++)
		image_plan_done(&archive->images[i]);
	free(archive->images);
	*archive = (struct image_archive){ 0 };
}

int image_archive_add(struct image_archive *archive, struct image_plan *take_plan, struct err *err)
{
	if (archive->len >= LIMIT_ARCHIVE_IMAGES) {
		image_plan_done(take_plan);
		return err_set(err, ERR_LIMIT, "the archive has more than %d images",
			(int)LIMIT_ARCHIVE_IMAGES);
	}
	archive->images = mem_grow(archive->images, archive->len + 1, sizeof(*archive->images));
	archive->images[archive->len++] = *take_plan;
	return 0;
}

static int docker_list(struct image_source *source, json **ret_document, struct err *err)
{
	AUTO_DONE(text) text = { 0 };
	AUTO_JSON document = NULL;
	int r = image_source_read(source, "manifest.json", &text, err);
	if (r >= 0)
		r = json_parse(view_of_text(&text), "manifest.json", &document, err);
	if (r < 0)
		return r;
	if (!json_object_is_type(document, json_type_array))
		return err_set(err, ERR_INVALID, "manifest.json: not a list");
	if (json_array_len(document) > LIMIT_ARCHIVE_IMAGES)
		return err_set(err, ERR_LIMIT, "manifest.json: %zu images, the limit is %d",
			json_array_len(document), (int)LIMIT_ARCHIVE_IMAGES);
	*ret_document = TAKE(document);
	return 0;
}

static int read_docker(struct image_source *source, struct image_archive *archive, struct err *err)
{
	AUTO_JSON document = NULL;
	int r = docker_list(source, &document, err);
	for (size_t i = 0; r >= 0 && i < json_array_len(document); i++) {
		struct image_plan plan = { 0 };
		r = image_plan_from_docker(source, json_object_array_get_idx(document, i), &plan,
			err);
		if (r >= 0)
			r = image_archive_add(archive, &plan, err);
	}
	if (r >= 0 && archive->len == 0)
		return err_set(err, ERR_NOT_FOUND, "manifest.json: it lists no image");
	return r;
}

static int add_tags(struct image_plan *plan, json *document, struct err *err)
{
	AUTO_FREE char *member = image_blob_member(&plan->id);
	AUTO_FREE char *classic = text_format("%s.json", plan->id.hex);
	for (size_t i = 0; i < json_array_len(document); i++) {
		json *entry = json_object_array_get_idx(document, i);
		const char *config = json_get_string(entry, "Config");
		if (config == NULL || (strcmp(config, member) != 0 && strcmp(config, classic) != 0))
			continue;
		int r = image_plan_add_tags(plan, entry, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int name_by_docker_list(struct image_source *source, struct image_archive *archive,
	struct err *err)
{
	AUTO_JSON document = NULL;
	int r = docker_list(source, &document, err);
	for (size_t i = 0; r >= 0 && i < archive->len; i++)
		if (archive->images[i].references.len == 0)
			r = add_tags(&archive->images[i], document, err);
	return r;
}

int image_archive_read(const struct image_members *members, struct image_archive *ret_archive,
	struct err *err)
{
	struct image_source source = { .members = members };
	AUTO_DONE(image_archive) archive = { 0 };
	bool has_list = members->has(members->context, "manifest.json");
	int r;
	if (members->has(members->context, "oci-layout")) {
		r = image_layout_read(&source, &archive, err);
		if (r >= 0 && has_list)
			r = name_by_docker_list(&source, &archive, err);
	} else if (has_list) {
		r = read_docker(&source, &archive, err);
	} else {
		r = err_set(err, ERR_INVALID,
			"no image archive: it has neither oci-layout nor manifest.json");
	}
	if (r < 0)
		return r;
	*ret_archive = archive;
	archive = (struct image_archive){ 0 };
	return 0;
}
