/* state_layer - layers and their place in images.  Private to state/. */
#pragma once

#include "state/state.h"

/* Within the caller's transaction: the layers of an image, in place of those it had. */
MUST_CHECK int state_layer_put_all(struct state *state, const struct state_image *image,
	struct err *err);
/* Fills image->layers and image->layers_len for image->id. */
MUST_CHECK int state_layer_get_all(struct state *state, struct state_image *image, struct err *err);
/* Within the caller's transaction: removes the layers that no image has; caller frees the list. */
MUST_CHECK int state_layer_remove_unused(struct state *state, struct state_layer **ret_layers,
	size_t *ret_layers_len, struct err *err);
