/* Images are acknowledged as durable: each change is one transaction with synchronous FULL. */
#include "state/state.h"

#include <string.h>

#include "base/mem.h"
#include "state/state_db.h"
#include "state/state_layer.h"
#include "state/state_reference.h"

#define IMAGE_COLUMNS "id, manifest, created_ns, loaded_ns, size_bytes"

void state_image_done(struct state_image *image)
{
	free(image->layers);
	*image = (struct state_image){ 0 };
}

/* ---- writing ---- */

static int image_insert(struct state *state, const struct state_image *image,
	const struct strv *references, struct err *err)
{
	/* The same image may come again with another manifest: other compression, same layers. */
	int r = state_db_run(state,
		&(struct state_db_query){
			.sql = "INSERT INTO image (" IMAGE_COLUMNS ")"
			       " VALUES (?1, ?2, ?3, ?4, ?5)"
			       " ON CONFLICT DO UPDATE SET manifest = excluded.manifest,"
			       " created_ns = excluded.created_ns, loaded_ns = excluded.loaded_ns,"
			       " size_bytes = excluded.size_bytes",
			DB_VALUES(DB_DIGEST(&image->id), DB_DIGEST(&image->manifest),
				DB_INT(image->created_ns), DB_INT(image->loaded_ns),
				DB_INT(image->size_bytes)),
		},
		err);
	if (r >= 0)
		r = state_layer_put_all(state, image, err);
	for (size_t i = 0; r >= 0 && i < references->len; i++)
		r = state_reference_put(state, references->items[i], &image->id, err);
	return r < 0 ? r : 0;
}

int state_image_put(struct state *state, const struct state_image *image,
	const struct strv *references, struct err *err)
{
	int r = state_db_begin(state, STATE_DB_FULL, err);
	if (r < 0)
		return r;
	return state_db_end(state, image_insert(state, image, references, err), err);
}

static int read_user(void *context, sqlite3_stmt *row, struct err *err)
{
	(void)err;
	char **ret_user = context;
	free(*ret_user);
	*ret_user = text_format("%s (%.12s)", (const char *)sqlite3_column_text(row, 0),
		(const char *)sqlite3_column_text(row, 1));
	return 0;
}

static int image_refuse_used(struct state *state, const struct digest *id, struct err *err)
{
	AUTO_FREE char *user = NULL;
	int r = state_db_run(state,
		&(struct state_db_query){
			.sql = "SELECT name, id FROM workload WHERE image_id = ?1 LIMIT 1",
			DB_VALUES(DB_DIGEST(id)),
			.row = read_user,
			.context = &user,
		},
		err);
	if (r > 0)
		return err_set(err, ERR_CONFLICT,
			"image %.12s is used by workload %s: remove that workload first", id->hex,
			user);
	return r;
}

static int image_delete(struct state *state, const struct digest *id,
	struct state_layer **ret_layers, size_t *ret_layers_len, struct err *err)
{
	int r = image_refuse_used(state, id, err);
	if (r < 0)
		return r;
	/* Its references and its places of layers go with it, by the schema. */
	r = state_db_run(state,
		&(struct state_db_query){
			.sql = "DELETE FROM image WHERE id = ?1",
			DB_VALUES(DB_DIGEST(id)),
		},
		err);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "no such image: sha256:%s", id->hex);
	return state_layer_remove_unused(state, ret_layers, ret_layers_len, err);
}

int state_image_remove(struct state *state, const struct digest *id,
	struct state_layer **ret_layers, size_t *ret_layers_len, struct err *err)
{
	int r = state_db_begin(state, STATE_DB_FULL, err);
	if (r < 0)
		return r;
	AUTO_FREE struct state_layer *layers = NULL;
	size_t layers_len = 0;
	r = state_db_end(state, image_delete(state, id, &layers, &layers_len, err), err);
	if (r < 0)
		return r;
	*ret_layers = TAKE(layers);
	*ret_layers_len = layers_len;
	return 0;
}

/* ---- reading ---- */

struct image_list {
	struct state_image *images; /* owned, with what they own */
	size_t len;
};

static void image_list_done(struct image_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		state_image_done(&list->images[i]);
	free(list->images);
}

static int list_add(void *context, sqlite3_stmt *row, struct err *err)
{
	struct image_list *list = context;
	struct state_image image = { 0 };
	int r = state_db_digest(row, 0, &image.id, err);
	if (r >= 0)
		r = state_db_digest(row, 1, &image.manifest, err);
	if (r < 0)
		return r;
	image.created_ns = sqlite3_column_int64(row, 2);
	image.loaded_ns = sqlite3_column_int64(row, 3);
	image.size_bytes = state_db_uint(row, 4);
	list->images = mem_grow(list->images, list->len + 1, sizeof(*list->images));
	list->images[list->len++] = image;
	return 0;
}

/* All images that a query gives, with their layers, as of one moment. */
static int list_fill(struct state *state, struct state_db_query *query, struct image_list *list,
	struct err *err)
{
	query->row = list_add;
	query->context = list;
	int r = state_db_run(state, query, err);
	for (size_t i = 0; r >= 0 && i < list->len; i++)
		r = state_layer_get_all(state, &list->images[i], err);
	return r;
}

static int list_read(struct state *state, struct state_db_query *query, struct image_list *list,
	struct err *err)
{
	int r = state_db_begin_read(state, err);
	if (r < 0)
		return r;
	return state_db_end(state, list_fill(state, query, list, err), err);
}

/* The one image that a query gives; text is what the user asked for. */
static int image_find(struct state *state, struct state_db_query *query, const char *text,
	struct state_image *ret_image, struct err *err)
{
	AUTO_DONE(image_list) list = { 0 };
	int r = list_read(state, query, &list, err);
	if (r < 0)
		return r;
	if (list.len == 0)
		return err_set(err, ERR_NOT_FOUND, "no such image: %s", text);
	if (list.len > 1)
		return err_set(err, ERR_CONFLICT,
			"more than one image has an id that begins with %s: give more digits",
			text);
	*ret_image = list.images[0];
	list.len = 0;
	return 0;
}

int state_image_by_reference(struct state *state, const char *reference,
	struct state_image *ret_image, struct err *err)
{
	return image_find(state,
		&(struct state_db_query){
			.sql = "SELECT " IMAGE_COLUMNS " FROM image WHERE id ="
			       " (SELECT image FROM reference WHERE name = ?1)",
			DB_VALUES(DB_TEXT(reference)),
		},
		reference, ret_image, err);
}

int state_image_by_prefix(struct state *state, const char *hex_prefix,
	struct state_image *ret_image, struct err *err)
{
	size_t len = strlen(hex_prefix);
	if (len == 0 || len > DIGEST_HEX_LEN || strspn(hex_prefix, "0123456789abcdef") != len)
		return err_set(err, ERR_NOT_FOUND, "no such image: %s", hex_prefix);
	/* 'g' follows the last digit: the range of all ids that begin so. */
	return image_find(state,
		&(struct state_db_query){
			.sql = "SELECT " IMAGE_COLUMNS
			       " FROM image WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2",
			DB_VALUES(DB_TEXT(hex_prefix)),
		},
		hex_prefix, ret_image, err);
}

int state_image_each(struct state *state, state_image_fn *fn, void *context, struct err *err)
{
	/* Gathered first, so that fn may change the database. */
	AUTO_DONE(image_list) list = { 0 };
	int r = list_read(state,
		&(struct state_db_query){
			.sql = "SELECT " IMAGE_COLUMNS " FROM image"
			       " ORDER BY created_ns DESC, loaded_ns DESC, id",
		},
		&list, err);
	for (size_t i = 0; r >= 0 && i < list.len; i++) {
		AUTO_DONE(strv) references = { 0 };
		r = state_references(state, &list.images[i].id, &references, err);
		if (r >= 0)
			r = fn(context, &list.images[i], &references, err);
	}
	return r < 0 ? r : 0;
}
