/* Text of any bytes within HTML. */
#include "nn/check/html/html_impl.h"

#include <stdlib.h>

/* Control characters, what Unicode calls no characters, and what turns the direction of the text that follows. */
static bool is_shown(uint32_t c) {
    if (c < 0x20) return c == '\t' || c == '\n';
    return !(c >= 0x7F && c < 0xA0) && !(c >= 0x202A && c <= 0x202E) && !(c >= 0x2066 && c <= 0x2069) &&
           !(c >= 0xFDD0 && c <= 0xFDEF) && (c & 0xFFFE) != 0xFFFE;
}

static const char *entity(uint32_t c) {
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return NULL;
    }
}

void ac_html_text(FILE *out, const char *text, size_t size) {
    while (size > 0) {
        uint32_t code = 0;
        int length = ac_decode(text, size, &code);
        if (length == 0 || !is_shown(code)) fputs("\xEF\xBF\xBD", out);
        else if (entity(code) != NULL) fputs(entity(code), out);
        else fwrite(text, 1, (size_t)length, out);
        size_t used = length > 0 ? (size_t)length : 1;
        text += used;
        size -= used;
    }
}

void ac_html_string(FILE *out, const char *text) { ac_html_text(out, text, strlen(text)); }

static void put_digits(FILE *out, const char *c) {
    for (; *c != '\0' && *c != 'e'; c++) fputs(*c == '-' ? "\xE2\x88\x92" : (const char[]){*c, '\0'}, out);
    if (*c == 'e')
        fprintf(out, "&nbsp;×&nbsp;10<sup>%s%d</sup>", atoi(c + 1) < 0 ? "\xE2\x88\x92" : "", abs(atoi(c + 1)));
}

void ac_html_number(FILE *out, double x, const double *unit) {
    char text[40];
    put_digits(out, ac_printed_text(x, unit, text, sizeof text));
}

void ac_html_number_apart(FILE *out, double x, const double *unit, double apart) {
    char text[40];
    int digits = nn_digits_for(x, apart, 6);
    put_digits(out, unit != NULL || digits == 6 ? ac_printed_text(x, unit, text, sizeof text)
                                                : ac_number_text(x, digits, text, sizeof text));
}
