/* Axes: ranges, and ticks at round numbers. */
#include "nn/plot/plot_impl.h"

#include <float.h>
#include <math.h>

bool nn_axis_has(const nn_axis *a, double number) { return isfinite(number) && (!a->log || number > 0); }

void nn_axis_see(nn_axis *a, double number) {
    if (!a->any || number < a->low) a->low = number;
    if (!a->any || number > a->high) a->high = number;
    a->any = true;
}

/* Halves, so that nothing overflows. */
double nn_axis_place(const nn_axis *a, double number) {
    if (a->log) return (log(number) - log(a->low)) / (log(a->high) - log(a->low));
    return (number / 2 - a->low / 2) / (a->high / 2 - a->low / 2);
}

/* ---- ranges ---- */

static void widen_log(nn_axis *a, double margin) {
    double low = log10(a->low), high = log10(a->high), room = high > low ? margin * (high - low) : 0.3;
    a->low = fmax(pow(10, low - room), DBL_MIN);
    a->high = fmin(pow(10, high + room), DBL_MAX);
    if (!(a->low < a->high)) a->high = 2 * a->low;
}

static void widen(nn_axis *a, double margin) {
    double low = a->low, high = a->high, room = 2 * margin * (high / 2 - low / 2);
    if (!(high / 2 - low / 2 > 16 * DBL_EPSILON * fmax(fabs(low), fabs(high)) + DBL_MIN))
        room = fmax(fabs(low) / 10, low == 0 ? 1 : 32 * DBL_MIN);
    a->low = low >= 0 && low - room < 0 ? 0 : fmax(low - room, -DBL_MAX);
    a->high = high <= 0 && low < 0 && high + room > 0 ? 0 : fmin(high + room, DBL_MAX);
}

/* ---- ticks ---- */

/* 1, 2 or 5 times a power of 10, not smaller. */
static double round_step(double least) {
    double power = pow(10, floor(log10(least)));
    if (power >= least) return power;
    if (2 * power >= least) return 2 * power;
    return 5 * power >= least ? 5 * power : 10 * power;
}

static void name_tick(char text[32], double number, double step, double most) {
    int decimals = step >= 1 ? 0 : (int)ceil(-log10(step) - 1e-9);
    if (most < 1e6 && decimals <= 6) (void)snprintf(text, 32, "%.*f", decimals, number);
    else (void)snprintf(text, 32, "%.*g", (int)fmin(fmax(ceil(log10(most / step) + 1e-9) + 1, 1), 17), number);
    for (char *c = text; *c != '\0'; c++) /* whatever the locale */
        if (*c == ',') *c = '.';
}

static void add_tick(nn_axis *a, double at, double step) {
    if (a->count == NN_MOST_TICKS || !(at >= a->low && at <= a->high)) return;
    a->ticks[a->count].at = at;
    name_tick(a->ticks[a->count++].text, at, step, fmax(fabs(a->low), fabs(a->high)));
}

static void place_ticks(nn_axis *a, int wanted) {
    double step = round_step((a->high / 2 - a->low / 2) / wanted * 2);
    if (!(step > DBL_MIN) || !isfinite(step)) return;
    double first = ceil(a->low / step);
    for (int i = 0; i < NN_MOST_TICKS; i++) add_tick(a, (first + i) * step + 0.0, step);
}

/* Powers of ten, every so many; with 2 and 5 of them if there are few. */
static void place_log_ticks(nn_axis *a, int wanted) {
    int low = (int)floor(log10(a->low)), high = (int)ceil(log10(a->high)), every = 1 + (high - low) / (wanted + 1);
    bool few = log10(a->high) - log10(a->low) <= 2.5;
    for (int power = low - (low % every + every) % every; power <= high; power += every)
        for (int digit = 1; digit <= (few ? 5 : 1); digit += digit == 1 ? 1 : 3) {
            double at = digit * pow(10, power);
            if (!(at >= a->low && at <= a->high) || a->count == NN_MOST_TICKS) continue;
            a->ticks[a->count].at = at;
            (void)snprintf(a->ticks[a->count++].text, 32, "%g", at);
        }
}

void nn_axis_finish(nn_axis *a, double margin, int wanted) {
    if (!a->any) a->low = a->log ? 1 : 0, a->high = a->log ? 10 : 1;
    else if (a->log) widen_log(a, margin);
    else widen(a, margin);
    a->count = 0;
    if (a->log) place_log_ticks(a, wanted);
    if (a->count < 2) a->count = 0, place_ticks(a, wanted);
}
