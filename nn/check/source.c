/* Places in a text, and messages about them. */
#include "nn/check/syntax.h"

#include <stdarg.h>
#include <time.h>

/* ---- characters ------------------------------------------------------------------------------------------------- */

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

typedef struct range {
    uint32_t first, last;
} range;

static bool is_in(uint32_t code, const range *ranges, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (code >= ranges[i].first && code <= ranges[i].last) return true;
    return false;
}
#define IS_IN(code, ranges) is_in(code, ranges, sizeof(ranges) / sizeof(ranges)[0])

bool ac_is_control(uint32_t code) {
    static const range controls[] = {{0, 0x1F}, {0x7F, 0x9F}, {0x2028, 0x202E}, {0x2066, 0x2069}};
    return IS_IN(code, controls);
}

int ac_width(uint32_t code) {
    static const range none[] = {{0x300, 0x36F},   {0x483, 0x489},   {0x591, 0x5BD},   {0x610, 0x61A},
                                 {0x64B, 0x65F},   {0x6D6, 0x6DC},   {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF},
                                 {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F},
                                 {0xFEFF, 0xFEFF}},
                       two[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0xA4CF},  {0xAC00, 0xD7A3},
                                {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},  {0xFFE0, 0xFFE6},
                                {0x1F300, 0x1F64F}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
    return code < 0x300 ? 1 : IS_IN(code, none) ? 0 : IS_IN(code, two) ? 2 : 1;
}

/* ---- places and messages ---------------------------------------------------------------------------------------- */

static bool continues_character(char c) { return ((unsigned char)c & 0xC0) == 0x80; }

/* A byte order mark and the first half of a line's end are no columns. */
ac_place ac_place_of(const ac_source *source, uint32_t offset) {
    ac_place place = {1, 1};
    const char *text = source->text;
    size_t first = source->size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    for (size_t i = first; i < offset && i < source->size; i++)
        if (text[i] == '\n') {
            place.line++;
            place.column = 1;
        } else if (!continues_character(text[i]) && !(text[i] == '\r' && text[i + 1] == '\n')) place.column++;
    return place;
}

/* Takes away what is left of a character that was cut off at the end. */
static void trim_character(char *text) {
    size_t length = strlen(text), start = length;
    uint32_t code;
    while (start > 0 && length - start < 4 && continues_character(text[start - 1])) start--;
    if (start > 0 && (unsigned char)text[start - 1] >= 0xC0) start--;
    if (start < length && ac_decode(text + start, length - start, &code) == 0) text[start] = '\0';
}

bool ac_fail(ac_error *error, ac_span span, const char *format, ...) {
    error->late = error->set;
    if (error->late) return false;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    trim_character(error->message);
    error->set = true;
    error->span = span;
    *error->hint = '\0';
    return false;
}

void ac_hint(ac_error *error, const char *format, ...) {
    if (error->late) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->hint, sizeof error->hint, format, arguments);
    va_end(arguments);
    trim_character(error->hint);
}

double ac_clock(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool ac_is_in_time(const ac_file *file, ac_error *error, ac_span span) {
    return ac_clock() <= file->deadline ||
           ac_fail(error, span, "checking takes longer than the limit of %g s", file->limits.seconds);
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
            text[length] = '\0';
            if (continues_character(c)) trim_character(text);
            length = strlen(text);
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
