/* Numbers as text have a decimal point, whatever locale the program has chosen. */
#include "nn/data/data_impl.h"

bool nn_locale_enter(nn_locale *l, const char *subject, nn_error *e) {
    l->c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (l->c == (locale_t)0) {
        nn_fail(e, AG_ERR_MEMORY, "%.200s: out of memory for a locale", subject);
        return false;
    }
    l->before = uselocale(l->c);
    return true;
}

void nn_locale_leave(const nn_locale *l) {
    (void)uselocale(l->before);
    freelocale(l->c);
}
