/* Errors that stick, and memory that may be refused. */
#include "nn/data/data_impl.h"

#include <stdarg.h>
#include <string.h>

void nn_fail(nn_error *e, ag_status status, const char *format, ...) {
    va_list arguments;
    if (!nn_ok(e)) return;
    e->status = status;
    va_start(arguments, format);
    (void)vsnprintf(e->message, sizeof e->message, format != NULL ? format : ag_status_text(status), arguments);
    va_end(arguments);
}

bool nn_given(const void *pointer, const char *what, nn_error *e) {
    if (pointer == NULL) nn_fail(e, AG_ERR_VALUE, "%s is NULL", what);
    return nn_ok(e);
}

void *nn_take(size_t count, size_t size, const char *subject, nn_error *e) {
    if (!nn_ok(e)) return NULL;
    void *memory = nn_allocate(count, size);
    if (memory == NULL) nn_fail(e, AG_ERR_MEMORY, "%s: out of memory for %zu x %zu bytes", subject, count, size);
    return memory;
}

char *nn_copy_text(const char *text, size_t length, nn_error *e) {
    char *copy = nn_take(length + 1, 1, "text", e);
    if (copy != NULL) memcpy(copy, text, length); /* the rest is 0 */
    return copy;
}

void *nn_append(void **items, int64_t *count, int64_t *room, size_t size, const char *subject, nn_error *e) {
    if (!nn_ok(e)) return NULL;
    if (*count == *room) {
        int64_t more = *room > 0 ? 2 * *room : 16;
        void *larger = nn_take((size_t)more, size, subject, e);
        if (larger == NULL) return NULL;
        if (*count > 0) memcpy(larger, *items, (size_t)*count * size);
        nn_release(*items);
        *items = larger;
        *room = more;
    }
    return (char *)*items + (size_t)(*count)++ * size;
}
