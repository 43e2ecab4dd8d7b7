/* Places in a text, and messages about them. */
#include "nn/check/syntax.h"

#include <stdarg.h>

static bool continues_character(char c) { return ((unsigned char)c & 0xC0) == 0x80; }

ac_place ac_place_of(const ac_source *source, uint32_t offset) {
    ac_place place = {1, 1};
    for (size_t i = 0; i < offset && i < source->size; i++)
        if (source->text[i] == '\n') {
            place.line++;
            place.column = 1;
        } else if (!continues_character(source->text[i])) place.column++;
    return place;
}

bool ac_fail(ac_error *error, ac_span span, const char *format, ...) {
    if (error->set) return false;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    error->set = true;
    error->span = span;
    *error->hint = '\0';
    return false;
}

void ac_hint(ac_error *error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->hint, sizeof error->hint, format, arguments);
    va_end(arguments);
}

/* Blanks, line ends and comments become one blank. What does not fit ends in "...", between characters. */
char *ac_text_of(const ac_source *source, ac_span span, char *text, size_t size) {
    size_t length = 0;
    bool blank = false;
    if (size < 8) return text;
    for (uint32_t i = span.start; i < span.end; i++) {
        char c = source->text[i];
        if (c == '#')
            while (i < span.end && source->text[i] != '\n') i++;
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '#') {
            blank = length > 0;
            continue;
        }
        if (length + 6 >= size) {
            while (length > 0 && continues_character(text[length])) length--;
            memcpy(text + length, "...", 3);
            length += 3;
            break;
        }
        if (blank) text[length++] = ' ';
        blank = false;
        text[length++] = c;
    }
    text[length] = '\0';
    return text;
}
