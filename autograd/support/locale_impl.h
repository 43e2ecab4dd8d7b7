/* Numbers as text have a decimal point, whatever locale the program has chosen. */
#ifndef AG_LOCALE_IMPL_H
#define AG_LOCALE_IMPL_H

#include <locale.h>

/* The thread's locale, and "C", which is in its place between the two calls. */
typedef struct ag_locale {
    locale_t c, before;
} ag_locale;

static inline ag_locale ag_locale_enter(void) {
    ag_locale l = {.c = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
    l.before = uselocale(l.c);
    return l;
}

static inline void ag_locale_leave(ag_locale l) {
    (void)uselocale(l.before);
    if (l.c != (locale_t)0) freelocale(l.c);
}

#endif
