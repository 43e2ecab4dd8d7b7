/* Text that grows; lines indented by their braces. */
#include "print_impl.h"

#include <ctype.h>
#include <stdarg.h>

enum { INDENT = 4 };

static bool room(ag_text *t, size_t more) {
    if (t->failed) return false;
    if (t->count + more <= t->size) return true;
    size_t size = 2 * t->size + more + 1024;
    char *base = ag_memory_resize(t->memory, t->base, t->size, size);
    if (!base) {
        t->failed = true;
        return false;
    }
    t->base = base;
    t->size = size;
    return true;
}

static void add(ag_text *t, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    if (length < 0) t->failed = true;
    else if (room(t, (size_t)length + 1)) {
        vsnprintf(t->base + t->count, (size_t)length + 1, format, again);
        t->count += (size_t)length;
    }
    va_end(again);
}

void ag_text_add(ag_text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    add(t, format, args);
    va_end(args);
}

static void indent(ag_text *t) {
    for (int i = 0; i < t->depth * INDENT; i++) ag_text_add(t, " ");
}

void ag_text_vline(ag_text *t, const char *format, va_list args) {
    size_t from = t->count;
    if (*format == '}') t->depth--;
    if (*format) indent(t);
    add(t, format, args);
    if (!t->failed && t->count > from && t->base[t->count - 1] == '{') t->depth++;
    ag_text_add(t, "\n");
}

void ag_text_line(ag_text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    ag_text_vline(t, format, args);
    va_end(args);
}

void ag_text_free(ag_text *t) {
    ag_memory_free(t->memory, t->base, t->size);
    *t = (ag_text){.memory = t->memory};
}

size_t ag_c_identifier(const char **at, const char **name) {
    for (const char *c = *at; *c;) {
        const char *past = strncmp(c, "/*", 2) == 0 ? strstr(c, "*/") : NULL;
        size_t n = past ? (size_t)(past + 2 - c) : ag_c_token(c);
        bool is_name = !past && (isalpha((unsigned char)*c) || *c == '_');
        *name = c;
        *at = c += n;
        if (is_name) return n;
    }
    return 0;
}

const char *ag_c_mention(const char *from, const char *name, size_t length) {
    const char *at = from, *found;
    for (size_t n; from && (n = ag_c_identifier(&at, &found)) > 0;)
        if (n == length && strncmp(found, name, length) == 0) return found;
    return NULL;
}
