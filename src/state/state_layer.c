/* A layer is known by its diff-id and stored once, however many images have it, and with one blob:
 * the first that came.  An image whose manifest names another compression of the same layer is
 * complete without that blob; pushing it as it came needs the blob fetched again. */
#include "state/state_layer.h"

#include <errno.h>

#include "base/mem.h"
#include "state/state_db.h"

#define LAYER_COLUMNS "diff_id, blob, blob_bytes, tar_bytes, erofs_bytes, compression"

static int layer_read(sqlite3_stmt *row, struct state_layer *ret_layer, struct err *err)
{
	int r = state_db_digest(row, 0, &ret_layer->diff_id, err);
	if (r >= 0)
		r = state_db_digest(row, 1, &ret_layer->blob, err);
	if (r < 0)
		return r;
	ret_layer->blob_bytes = state_db_uint(row, 2);
	ret_layer->tar_bytes = state_db_uint(row, 3);
	ret_layer->erofs_bytes = state_db_uint(row, 4);
	ret_layer->compression = sqlite3_column_int(row, 5);
	return 0;
}

static int layer_put(struct state *state, const struct state_layer *layer, struct err *err)
{
	return state_db_run(state,
		&(struct state_db_query){
			.sql = "INSERT INTO layer (" LAYER_COLUMNS ")"
			       " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
			       " ON CONFLICT DO UPDATE SET blob = excluded.blob,"
			       " blob_bytes = excluded.blob_bytes,"
			       " compression = excluded.compression"
			       " WHERE blob = ''",
			DB_VALUES(DB_DIGEST(&layer->diff_id), DB_DIGEST(&layer->blob),
				DB_INT(layer->blob_bytes), DB_INT(layer->tar_bytes),
				DB_INT(layer->erofs_bytes), DB_INT(layer->compression)),
		},
		err);
}

int state_layer_put_all(struct state *state, const struct state_image *image, struct err *err)
{
	int r = state_db_run(state,
		&(struct state_db_query){
			.sql = "DELETE FROM image_layer WHERE image = ?1",
			DB_VALUES(DB_DIGEST(&image->id)),
		},
		err);
	for (size_t i = 0; r >= 0 && i < image->layers_len; i++) {
		r = layer_put(state, &image->layers[i], err);
		if (r >= 0)
			r = state_db_run(state,
				&(struct state_db_query){
					.sql = "INSERT INTO image_layer (image, position, layer)"
					       " VALUES (?1, ?2, ?3)",
					DB_VALUES(DB_DIGEST(&image->id), DB_INT(i),
						DB_DIGEST(&image->layers[i].diff_id)),
				},
				err);
	}
	return r;
}

struct layer_list {
	struct state_layer *layers; /* owned */
	size_t len;
};

static int list_add(void *context, sqlite3_stmt *row, struct err *err)
{
	struct layer_list *list = context;
	list->layers = mem_grow(list->layers, list->len + 1, sizeof(*list->layers));
	int r = layer_read(row, &list->layers[list->len], err);
	if (r >= 0)
		list->len++;
	return r;
}

static int list_run(struct state *state, struct state_db_query *query,
	struct state_layer **ret_layers, size_t *ret_layers_len, struct err *err)
{
	struct layer_list list = { 0 };
	query->row = list_add;
	query->context = &list;
	int r = state_db_run(state, query, err);
	if (r < 0) {
		free(list.layers);
		return r;
	}
	*ret_layers = list.layers;
	*ret_layers_len = list.len;
	return 0;
}

int state_layer_get_all(struct state *state, struct state_image *image, struct err *err)
{
	return list_run(state,
		&(struct state_db_query){
			.sql = "SELECT " LAYER_COLUMNS
			       " FROM image_layer JOIN layer ON diff_id = layer"
			       " WHERE image = ?1 ORDER BY position",
			DB_VALUES(DB_DIGEST(&image->id)),
		},
		&image->layers, &image->layers_len, err);
}

int state_layer_remove_unused(struct state *state, struct state_layer **ret_layers,
	size_t *ret_layers_len, struct err *err)
{
	return list_run(state,
		&(struct state_db_query){
			.sql = "DELETE FROM layer WHERE NOT EXISTS"
			       " (SELECT 1 FROM image_layer WHERE layer = diff_id)"
			       " RETURNING " LAYER_COLUMNS,
		},
		ret_layers, ret_layers_len, err);
}

static int find_one(void *context, sqlite3_stmt *row, struct err *err)
{
	return layer_read(row, context, err);
}

int state_layer_find(struct state *state, const struct digest *diff_id,
	struct state_layer *ret_layer, struct err *err)
{
	struct state_layer layer;
	int r = state_db_run(state,
		&(struct state_db_query){
			.sql = "SELECT " LAYER_COLUMNS " FROM layer WHERE diff_id = ?1",
			DB_VALUES(DB_DIGEST(diff_id)),
			.row = find_one,
			.context = &layer,
		},
		err);
	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;
	*ret_layer = layer;
	return 0;
}
