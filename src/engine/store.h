/* store - the files of images: written under a marker, so that what a killed command left is found,
 * and removed when no row names them. */
#pragma once

#include "base/id.h"
#include "engine/handle.h"

/* An empty, locked file, so that a full disk can be made emptier. */
struct store_marker {
	int fd; /* owned; -1: none */
	char name[sizeof("unfinished/") + ID_LEN];
};

/* Marks that this command changes the store, until store_end().  Files that no row names yet are
 * safe from store_repair() meanwhile. */
MUST_CHECK int store_begin(struct engine *engine, struct store_marker *ret_marker, struct err *err);
void store_end(struct engine *engine, struct store_marker *marker);

/* After a killed command: removes its marker and the files that no row names.  Cheap when there is
 * no such marker. */
MUST_CHECK int store_repair(struct engine *engine, struct err *err);
/* Removes the files that no row names, marker or not; leaves all alone while another command
 * changes the store. */
MUST_CHECK int store_sweep(struct engine *engine, struct err *err);
