/* isal - see isal.h. */
#include "layer/isal.h"

#include "base/library.h"

int isal_load(struct isal *ret_isal, struct err *err)
{
	static const struct library library = { "libisal.so.2", "libisal2", "to inflate layers" };
	const struct library_symbol symbols[] = {
		{ "isal_inflate_init", &ret_isal->inflate_init },
		{ "isal_inflate_reset", &ret_isal->inflate_reset },
		{ "isal_inflate", &ret_isal->inflate },
		{ "isal_gzip_header_init", &ret_isal->gzip_header_init },
		{ "isal_read_gzip_header", &ret_isal->read_gzip_header },
	};
	return library_load(&library, symbols, ARRAY_LEN(symbols), err);
}
