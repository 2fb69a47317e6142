/* store - the files of images: written under a marker, so that what a killed command left is found,
 * and removed when no row names them. */
#pragma once

#include "engine/handle.h"

/* Marks that this command changes the store, until the descriptor is given to store_end().  Files
 * that no row names yet are safe from store_repair() meanwhile. */
MUST_CHECK int store_begin(struct engine *engine, int *ret_marker, struct err *err);
void store_end(struct engine *engine, int take_marker);

/* After a killed command: removes its marker and the files that no row names.  Cheap when there is
 * no such marker. */
MUST_CHECK int store_repair(struct engine *engine, struct err *err);
/* Removes the files that no row names, marker or not; leaves all alone while another command
 * changes the store. */
MUST_CHECK int store_sweep(struct engine *engine, struct err *err);
