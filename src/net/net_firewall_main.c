/* net_firewall_main - body of the role "firewall": one ruleset through libnftables (net.h).
 *
 * A process of its own, because libnftables aborts in select() when it is opened above descriptor
 * 1023, and is loaded in no other process, for its start-up cost and its licence.  The library is
 * opened before anything is read. */
#include <nftables/libnftables.h>
#include <stdint.h>

#include "base/fd.h"
#include "base/library.h"
#include "net/net.h"

#define LIBRARY "libnftables.so.1"

enum { RULESET_BYTES_MAX = 1048576 };

struct nftables {
	struct nft_ctx *(*ctx_new)(uint32_t flags);
	int (*ctx_buffer_error)(struct nft_ctx *ctx);
	const char *(*ctx_get_error_buffer)(struct nft_ctx *ctx);
	int (*run_cmd_from_buffer)(struct nft_ctx *nft, const char *buffer);
};

static int load(struct nftables *ret, struct err *err)
{
	static const struct library library = { LIBRARY, "libnftables1", "for the firewall" };
	const struct library_symbol symbols[] = {
		{ "nft_ctx_new", &ret->ctx_new },
		{ "nft_ctx_buffer_error", &ret->ctx_buffer_error },
		{ "nft_ctx_get_error_buffer", &ret->ctx_get_error_buffer },
		{ "nft_run_cmd_from_buffer", &ret->run_cmd_from_buffer },
	};
	return library_load(&library, symbols, ARRAY_LEN(symbols), err);
}

int net_firewall_main(struct err *err)
{
	struct nftables nft;
	AUTO_DONE(text) ruleset = { 0 };
	int r = load(&nft, err);
	if (r != 0)
		return r;
	struct nft_ctx *ctx = nft.ctx_new(NFT_CTX_DEFAULT);
	if (ctx == NULL || nft.ctx_buffer_error(ctx) != 0)
		return err_set(err, ERR_SYSTEM, LIBRARY " cannot start");
	r = fd_read_text(STDIN_FILENO, RULESET_BYTES_MAX, "the ruleset", &ruleset, err);
	if (r < 0)
		return r;
	if (nft.run_cmd_from_buffer(ctx, text_string(&ruleset)) == 0)
		return 0;
	struct view words = view_of(nft.ctx_get_error_buffer(ctx));
	AUTO_FREE char *first_line = view_dup(view_cut(&words, '\n'));
	return err_set(err, ERR_SYSTEM, "nftables refused: %s", first_line);
}
