/* Places in a text, and messages about them. */
#include "nn/check/syntax.h"

#include <stdarg.h>

int ac_decode(const char *text, size_t size, uint32_t *code) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char c = size > 0 ? (unsigned char)*text : 0xFF;
    int length = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : (c & 0xF0) == 0xE0 ? 3 : c >= 0xF0 && c < 0xF5 ? 4 : 0;
    if (length == 0 || (size_t)length > size) return 0;
    *code = length == 1 ? c : c & (0x7Fu >> length);
    for (int i = 1; i < length; i++) {
        unsigned char next = (unsigned char)text[i];
        if ((next & 0xC0) != 0x80) return 0;
        *code = *code << 6 | (next & 0x3F);
    }
    return *code < least[length] || (*code >= 0xD800 && *code < 0xE000) || *code > 0x10FFFF ? 0 : length;
}

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
