/* markup.h - private to data/: SGML and XML as a row of tags and texts.
 *
 * A tolerant reader: tags need not be closed, and what is no tag, comment, declaration or
 * known entity is text as it stands. Names are compared without regard to case, as SGML does. */
#ifndef TANDEM_DATA_MARKUP_H
#define TANDEM_DATA_MARKUP_H

#include <stdbool.h>
#include <stddef.h>

#include "tandem/error.h"

typedef enum { TANDEM_MARKUP_END, TANDEM_MARKUP_OPEN, TANDEM_MARKUP_CLOSE, TANDEM_MARKUP_TEXT } tandem_markup_kind;

typedef struct {
    tandem_markup_kind kind;
    const char *text;       /* the element's name, or a piece of text, entities replaced */
    size_t length;          /* of `text` */
    const char *attributes; /* OPEN: what follows the name */
    size_t line;            /* where it begins */
} tandem_markup_token;

typedef struct tandem_markup tandem_markup;

int tandem_markup_open(tandem_markup **out, const char *path);
/* The next token, borrowed until the next call. An element <a/> is OPEN and then CLOSE. A text
 * may come in several pieces. */
int tandem_markup_next(tandem_markup *markup, tandem_markup_token *token);
void tandem_markup_close(tandem_markup *markup); /* NULL is fine */

/* True when the token is of this kind and name. */
bool tandem_markup_is(const tandem_markup_token *token, tandem_markup_kind kind, const char *name);
/* The value of an attribute in `attributes`, as it stands between its quotation marks; NULL when
 * there is none. */
const char *tandem_markup_attribute(const char *attributes, const char *name, size_t *length);

#endif
