/* A program may have chosen a locale whose decimal point is a comma. The build makes one where it can. */
#ifndef COMMA_LOCALE_H
#define COMMA_LOCALE_H

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* Skips the test if there is none. The end of the test sets "C" again. */
static inline void choose_comma_locale(void) {
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR"};
    for (int i = 0; i < 4; i++)
        if (setlocale(LC_ALL, names[i]) != NULL) return;
    print_message("skipped: there is no locale with a decimal comma\n");
    skip();
}

#endif
