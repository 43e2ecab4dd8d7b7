/* What is said while a model trains: a bar that moves on a terminal, a line an epoch elsewhere. */
#include "nn/train/train_impl.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BAR = 24 };
static const double refresh = 0.1; /* seconds */

double nn_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void nn_progress_begin(nn_progress *p, int64_t epoch, int64_t batches, int64_t of) {
    if (p->out == NULL) return;
    p->terminal = isatty(fileno(p->out)) == 1;
    p->epoch = epoch;
    p->batches = batches;
    p->of = of;
    p->samples = 0;
    p->begun = nn_seconds();
    p->shown = 0;
}

static void put_count(FILE *out, double x) {
    if (x >= 1e6) fprintf(out, "%.3gM", x / 1e6);
    else if (x >= 1e3) fprintf(out, "%.3gk", x / 1e3);
    else fprintf(out, "%.3g", x);
}

static void put_time(FILE *out, double seconds) {
    int64_t s = (int64_t)seconds;
    if (s >= 3600) fprintf(out, "%" PRId64 ":%02" PRId64 ":%02" PRId64, s / 3600, s / 60 % 60, s % 60);
    else fprintf(out, "%" PRId64 ":%02" PRId64, s / 60, s % 60);
}

static double speed(const nn_progress *p) {
    double seconds = nn_seconds() - p->begun;
    return seconds > 0 ? p->samples / seconds : 0;
}

void nn_progress_more(nn_progress *p, int64_t samples, double loss) {
    if (p->out == NULL) return;
    p->batches++;
    p->samples += (double)samples;
    double now = nn_seconds();
    if (!p->terminal || now - p->shown < refresh) return;
    p->shown = now;
    int done = p->of > 0 ? (int)((double)p->batches / (double)p->of * BAR) : 0;
    char bar[BAR + 1];
    memset(bar, ' ', BAR);
    memset(bar, '=', (size_t)(done < BAR ? done : BAR));
    bar[BAR] = '\0';
    fprintf(p->out, "\r\033[Kepoch %" PRId64 "/%" PRId64 " [%s] %" PRId64 "/%" PRId64 "  loss %.4g  ", p->epoch,
            p->epochs, bar, p->batches, p->of, loss);
    double rate = speed(p);
    put_count(p->out, rate);
    fputs("/s  ", p->out);
    put_time(p->out, (double)(p->of - p->batches) * (double)samples / rate);
    fputs(" left", p->out);
    fflush(p->out);
}

void nn_progress_end(nn_progress *p, const nn_epoch *q, const nn_fit_options *o) {
    if (p->out == NULL) return;
    double rate = speed(p);
    if (p->terminal) fputs("\r\033[K", p->out);
    fprintf(p->out, "epoch %" PRId64 "/%" PRId64 "  loss %.4g", q->epoch, p->epochs, q->loss);
    if (!isnan(q->validation_loss)) fprintf(p->out, "  validation %.4g", q->validation_loss);
    for (int k = 0; k < o->metric_count; k++)
        fprintf(p->out, "  %s %.4g", nn_metric_name(o->metrics[k].kind), q->metrics[k]);
    fputs("  ", p->out);
    put_count(p->out, rate);
    fputs("/s  ", p->out);
    put_time(p->out, q->seconds);
    fputs(q->best ? "  best\n" : "\n", p->out);
    fflush(p->out);
}
