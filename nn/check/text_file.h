/* The text of a file, as memory: a large one lies in a file without a name and is mapped, so that what was read can be
 * given back to the system. */
#ifndef NN_CHECK_TEXT_FILE_H
#define NN_CHECK_TEXT_FILE_H

#include "nn/check/syntax.h"

typedef struct ac_text_file {
    ac_source source;
    const char *why; /* it could not be read; NULL: it could */
    char *memory;    /* owned: allocated, or `mapped` bytes of a mapping */
    size_t mapped, read;
} ac_text_file;

/* Reads all there is, up to one byte more than a file may have. A `name` of "-" is the standard input. The text does not
 * change if the file does. To be closed, even if it could not be read. */
void ac_text_file_open(ac_text_file *t, const char *name);
void ac_text_file_close(ac_text_file *t);

#endif
