/* Nocedal, Wright, Numerical Optimization, 2006, algorithms 3.5 (bracket) and 3.6 (zoom), with the safeguards of Schmidt's
 * minFunc, which PyTorch has, too, so that both take the same steps. */
#include "line_search_impl.h"

#include <math.h>

enum { MOST_EVALUATIONS = 25 };
static const double sufficient = 1e-4, flat = 0.9;

/* Where the cubic through two points with their slopes is least, in lo..hi; their middle where there is no such place. */
static double least_of_cubic(nn_line_point a, nn_line_point b, double lo, double hi) {
    if (a.t > b.t) {
        nn_line_point was = a;
        a = b;
        b = was;
    }
    double d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t), square = d1 * d1 - a.slope * b.slope;
    if (!(square >= 0)) return (lo + hi) / 2;
    double d2 = sqrt(square), t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2));
    if (isnan(t)) return (lo + hi) / 2;
    return t < lo ? lo : t > hi ? hi : t;
}

static bool descends(const nn_line *line, const nn_line_point *p) {
    return p->f <= line->start.f + sufficient * p->t * line->start.slope;
}
static bool is_flat(const nn_line *line, const nn_line_point *p) { return fabs(p->slope) <= -flat * line->start.slope; }

/* A place for a gradient that neither the start nor two others use. */
static int free_place(const nn_line *line, const nn_line_point *a, const nn_line_point *b) {
    for (int i = 0;; i++)
        if (i != line->start.gradient && i != a->gradient && i != b->gradient) return i;
}

static bool evaluate(nn_line *line, nn_line_point *p) {
    line->evaluations++;
    return line->evaluate(line->context, p);
}

typedef enum outcome { FAILED, FOUND, BRACKETED, EXHAUSTED } outcome;

/* Longer and longer steps until one is good, at[1], or a good one lies between at[0] and at[1]. */
static outcome bracket(nn_line *line, double t, nn_line_point at[2]) {
    at[0] = line->start;
    at[1] = (nn_line_point){.t = t, .gradient = free_place(line, &line->start, &line->start)};
    for (int i = 0; evaluate(line, &at[1]); i++) {
        if (i == MOST_EVALUATIONS) return EXHAUSTED;
        if (!descends(line, &at[1]) || (i > 1 && at[1].f >= at[0].f)) return BRACKETED;
        if (is_flat(line, &at[1])) return FOUND;
        if (at[1].slope >= 0) return BRACKETED;
        double least = at[1].t + 0.01 * (at[1].t - at[0].t), most = 10 * at[1].t;
        nn_line_point next = {.t = least_of_cubic(at[0], at[1], least, most),
                              .gradient = free_place(line, &at[1], &at[1])};
        at[0] = at[1];
        at[1] = next;
    }
    return FAILED;
}

/* The next trial within a bracket: not too near to an end, twice in a row or at all outside. */
static double trial(const nn_line_point at[2], bool *near_end) {
    double lo = fmin(at[0].t, at[1].t), hi = fmax(at[0].t, at[1].t), margin = 0.1 * (hi - lo);
    double t = least_of_cubic(at[0], at[1], lo, hi);
    bool near = fmin(hi - t, t - lo) < margin, was_near = *near_end;
    *near_end = near;
    if (!near || !(was_near || t >= hi || t <= lo)) return t;
    *near_end = false;
    return fabs(t - hi) < fabs(t - lo) ? hi - margin : lo + margin;
}

/* Shorter and shorter brackets: at[low] is the better end. False if evaluate was. */
static bool zoom(nn_line *line, nn_line_point at[2], int *low) {
    bool near_end = false;
    *low = at[0].f <= at[1].f ? 0 : 1;
    while (line->evaluations <= MOST_EVALUATIONS && !(fabs(at[1].t - at[0].t) * line->longest < line->change)) {
        int high = 1 - *low;
        nn_line_point p = {.t = trial(at, &near_end), .gradient = free_place(line, &at[0], &at[1])};
        if (!evaluate(line, &p)) return false;
        if (!descends(line, &p) || p.f >= at[*low].f) {
            at[high] = p;
            *low = at[0].f <= at[1].f ? 0 : 1;
            continue;
        }
        if (p.slope * (at[high].t - at[*low].t) >= 0 && !is_flat(line, &p)) at[high] = at[*low];
        at[*low] = p;
        if (is_flat(line, &p)) break;
    }
    return true;
}

bool nn_line_search(nn_line *line, double t, nn_line_point *found) {
    nn_line_point at[2];
    int low = 1;
    line->evaluations = 0;
    outcome o = bracket(line, t, at);
    if (o == FAILED || (o == BRACKETED && !zoom(line, at, &low))) return false;
    if (o == EXHAUSTED && line->start.f <= at[1].f) *found = line->start;
    else *found = at[low];
    return true;
}
