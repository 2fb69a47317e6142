/* The grammar of distribution/reference (regexp.go, normalize.go):
 *
 *	reference  = [ domain "/" ] path [ ":" tag ] [ "@" digest ]
 *	domain     = host [ ":" port ], host = label *( "." label ) | "[" IPv6 "]"
 *	label      = alnum [ *( alnum | "-" ) alnum ]           of either case
 *	path       = component *( "/" component )               at most 255 bytes
 *	component  = lower *( separator lower ), separator = "." | "_" | "__" | 1*"-"
 *	tag        = ( alnum | "_" ) 0*127( alnum | "_" | "." | "-" )
 *
 * The first component is a domain only if it looks like one: it has a '.', a ':' or an upper-case
 * letter, or is "localhost".  Else the domain is docker.io, where one component means "library/"
 * and that component. */
#include "image/image.h"

#include <ctype.h>
#include <string.h>

#include "base/mem.h"
#include "base/quote.h"
#include "image/image_ref.h"

#define DOMAIN_DEFAULT "docker.io"
#define DOMAIN_LEGACY "index.docker.io"
#define OFFICIAL "library"
#define TAG_DEFAULT "latest"

enum { TAG_BYTES = 128, PATH_BYTES = 255 };

/* ---- characters: the locale has no say, and bytes above 127 are none of these ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z');
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_alnum(char c)
{
	return is_lower(c) || is_upper(c);
}

static bool view_has(struct view view, char c)
{
	return view.len > 0 && memchr(view.data, c, view.len) != NULL;
}

static bool has_upper(struct view view)
{
	for (size_t i = 0; i < view.len; i++)
		if (is_upper(view.data[i]))
			return true;
	return false;
}

/* Splits at the last separator: leaves what stands before it in *view and returns what follows;
 * without a separator leaves *view alone and returns NULL data. */
static struct view cut_last(struct view *view, char separator)
{
	const char *found = view->len == 0 ? NULL : memrchr(view->data, separator, view->len);
	if (found == NULL)
		return (struct view){ 0 };
	size_t before = (size_t)(found - view->data);
	struct view after = { found + 1, view->len - before - 1 };
	view->len = before;
	return after;
}

/* ---- parts ---- */

static bool label_is_valid(struct view label)
{
	if (label.len == 0 || !is_alnum(label.data[0]) || !is_alnum(label.data[label.len - 1]))
		return false;
	for (size_t i = 0; i < label.len; i++)
		if (!is_alnum(label.data[i]) && label.data[i] != '-')
			return false;
	return true;
}

static bool host_is_valid(struct view host)
{
	if (host.len > 2 && host.data[0] == '[' && host.data[host.len - 1] == ']') {
		for (size_t i = 1; i + 1 < host.len; i++)
			if (!isxdigit((unsigned char)host.data[i]) && host.data[i] != ':')
				return false;
		return true;
	}
	while (host.data != NULL)
		if (!label_is_valid(view_cut(&host, '.')))
			return false;
	return true;
}

static bool port_is_valid(struct view port)
{
	for (size_t i = 0; i < port.len; i++)
		if (!is_digit(port.data[i]))
			return false;
	return port.len > 0;
}

static bool domain_is_valid(struct view domain)
{
	/* The colons of an IPv6 address stand inside its brackets. */
	if (domain.len > 0 && domain.data[domain.len - 1] == ']')
		return host_is_valid(domain);
	struct view port = cut_last(&domain, ':');
	return (port.data == NULL || port_is_valid(port)) && domain.len > 0 &&
	       host_is_valid(domain);
}

static bool component_is_valid(struct view part)
{
	for (size_t i = 0;;) {
		size_t start = i;
		while (i < part.len && is_lower(part.data[i]))
			i++;
		if (i == start)
			return false;
		if (i == part.len)
			return true;
		char separator = part.data[i++];
		if (separator == '-')
			while (i < part.len && part.data[i] == '-')
				i++;
		else if (separator == '_' && i < part.len && part.data[i] == '_')
			i++;
		else if (separator != '.' && separator != '_')
			return false;
	}
}

static bool path_is_valid(struct view path)
{
	if (path.len == 0)
		return false;
	while (path.data != NULL)
		if (!component_is_valid(view_cut(&path, '/')))
			return false;
	return true;
}

static bool tag_is_valid(struct view tag)
{
	if (tag.len == 0 || tag.len > TAG_BYTES)
		return false;
	for (size_t i = 0; i < tag.len; i++) {
		char c = tag.data[i];
		bool inside = i > 0 && (c == '.' || c == '-');
		if (!is_alnum(c) && c != '_' && !inside)
			return false;
	}
	return true;
}

bool image_ref_is_tag(const char *text)
{
	return tag_is_valid(view_of(text));
}

/* ---- the whole ---- */

static bool looks_like_domain(struct view part)
{
	return view_is(part, "localhost") || view_has(part, '.') || view_has(part, ':') ||
	       has_upper(part);
}

/* Splits name (without tag and digest) into domain and the rest, which is its path unless the path
 * is official. */
static struct view cut_domain(struct view *name)
{
	struct view rest = *name;
	struct view first = view_cut(&rest, '/');
	if (rest.data == NULL || !looks_like_domain(first))
		return view_of(DOMAIN_DEFAULT);
	*name = rest;
	return view_is(first, DOMAIN_LEGACY) ? view_of(DOMAIN_DEFAULT) : first;
}

static int refuse(const char *text, const char *why, struct err *err)
{
	AUTO_FREE char *quoted = quote_string(text);
	return err_set(err, ERR_INVALID, "\"%.280s\" is no image name: %s", quoted, why);
}

static bool is_image_id(struct view name)
{
	if (name.len != DIGEST_HEX_LEN)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (!is_digit(name.data[i]) && (name.data[i] < 'a' || name.data[i] > 'f'))
			return false;
	return true;
}

static int parse(const char *text, struct image_ref *ref, struct err *err)
{
	struct view name = view_of(text);
	if (is_image_id(name))
		return refuse(text, "64 hex digits are an image's id", err);

	struct view digest = view_of(text);
	name = view_cut(&digest, '@');
	if (digest.data != NULL && digest_parse(digest, &ref->digest, NULL) < 0)
		return refuse(text, "a digest is sha256: and 64 hex digits", err);

	/* A ':' before the last '/' belongs to a port. */
	struct view tag = { 0 };
	struct view before = name;
	struct view last = cut_last(&before, '/');
	if (view_has(last.data == NULL ? name : last, ':'))
		tag = cut_last(&name, ':');
	if (tag.data != NULL && !tag_is_valid(tag))
		return refuse(text, "a tag is up to 128 letters, digits, '_', '.' and '-'", err);

	struct view domain = cut_domain(&name);
	if (has_upper(name))
		return refuse(text, "the repository must be lower-case", err);
	if (!domain_is_valid(domain))
		return refuse(text, "what stands before the first '/' is no host name", err);
	if (!path_is_valid(name))
		return refuse(text,
			"a repository has parts of a-z and 0-9, with single '.', '_', '__' or "
			"dashes between, joined by '/'",
			err);

	bool is_official = view_is(domain, DOMAIN_DEFAULT) && !view_has(name, '/');
	const char *prefix = is_official ? OFFICIAL "/" : "";
	if (strlen(prefix) + name.len > PATH_BYTES)
		return refuse(text, "the repository has more than 255 bytes", err);
	ref->repository = text_format("%.*s/%s%.*s", (int)domain.len, domain.data, prefix,
		(int)name.len, name.data);
	if (!digest_is_set(&ref->digest))
		ref->tag = tag.data == NULL ? mem_strdup(TAG_DEFAULT) : view_dup(tag);
	return 0;
}

int image_ref_parse(const char *text, struct image_ref *ret_ref, struct err *err)
{
	struct image_ref ref = { 0 };
	int r = parse(text, &ref, err);
	if (r >= 0)
		*ret_ref = ref;
	return r;
}

void image_ref_done(struct image_ref *ref)
{
	free(ref->repository);
	free(ref->tag);
	*ref = (struct image_ref){ 0 };
}

static char *ref_text(const struct image_ref *ref, const char *repository)
{
	if (digest_is_set(&ref->digest))
		return text_format("%s@sha256:%s", repository, ref->digest.hex);
	return text_format("%s:%s", repository, ref->tag == NULL ? TAG_DEFAULT : ref->tag);
}

char *image_ref_full(const struct image_ref *ref)
{
	return ref_text(ref, ref->repository);
}

char *image_repository_familiar(const char *repository)
{
	struct view rest = view_of(repository);
	if (!view_is(view_cut(&rest, '/'), DOMAIN_DEFAULT) || rest.data == NULL)
		return mem_strdup(repository);
	struct view name = rest;
	struct view first = view_cut(&name, '/');
	if (view_is(first, OFFICIAL) && name.data != NULL && !view_has(name, '/'))
		return view_dup(name);
	/* "docker.io/a.b/c" is another repository than "a.b/c". */
	if (name.data != NULL && looks_like_domain(first))
		return mem_strdup(repository);
	return view_dup(rest);
}

char *image_ref_familiar(const struct image_ref *ref)
{
	AUTO_FREE char *repository = image_repository_familiar(ref->repository);
	return ref_text(ref, repository);
}
