/* guest_order - what START asks for, checked; and the document of one EXEC. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/json.h"
#include "base/text.h"
#include "net/net.h"

#define GUEST_LAYERS_MAX 128

struct guest_order {
	json *start;      /* owned; all borrowed parts below are its */
	json *document;   /* the OCI document, as container_spec_parse() takes it */
	json *metadata;   /* device */
	json *layers;     /* array of devices, or NULL */
	json *upper;      /* device; NULL: a tmpfs */
	json *files;      /* path to text, or NULL */
	const char *user; /* NULL: the document's */
	int64_t clock_ns; /* 0: leave the clock alone */
	bool has_network; /* card is set */
	struct net_card card;
	bool is_interactive, has_terminal;
};

MUST_CHECK int guest_order_parse(struct view bytes, struct guest_order *ret_order, struct err *err);
void guest_order_done(struct guest_order *order);

/* Mounts a file of the guest's own over PATH inside. */
void guest_order_bind(struct guest_order *order, const char *source, const char *path);

/* One EXEC: the process part of the document with what it asks for instead. */
struct guest_exec_order {
	json *document; /* owned */
	char *user;     /* owned; NULL: the document's */
	bool is_interactive, has_terminal;
};
MUST_CHECK int guest_exec_order_parse(const struct guest_order *order, struct view bytes,
	struct guest_exec_order *ret_order, struct err *err);
void guest_exec_order_done(struct guest_exec_order *order);
