/* The course of training as a CSV file and as curves. */
#include "nn/plot.h"
#include "nn/train/train_impl.h"

#include <inttypes.h>
#include <math.h>

/* What reads back to the same bits; nothing for NaN. */
static void put(FILE *out, double x) {
    fputc(',', out);
    if (!isnan(x)) fprintf(out, "%.17g", x);
}

static void put_epoch(FILE *out, const nn_epoch *p, int metrics) {
    fprintf(out, "%" PRId64 ",%" PRId64, p->epoch, p->steps);
    put(out, p->loss);
    put(out, p->validation_loss);
    for (int k = 0; k < metrics; k++) put(out, p->metrics[k]);
    put(out, p->rate);
    put(out, p->seconds);
    fputc('\n', out);
}

/* In the locale "C": a decimal comma would be one more column. */
void nn_history_write(const nn_history *h, const nn_fit_options *o, const char *path, nn_error *e) {
    nn_locale locale;
    if (!nn_locale_enter(&locale, path, e)) return;
    nn_replacement r = nn_replace_begin(path, e);
    if (r.file != NULL) {
        fputs("epoch,steps,loss,validation_loss", r.file);
        for (int k = 0; k < o->metric_count; k++) fprintf(r.file, ",%s", nn_metric_name(o->metrics[k].kind));
        fputs(",rate,seconds\n", r.file);
        for (int64_t i = 0; i < h->count; i++) put_epoch(r.file, &h->epochs[i], o->metric_count);
    }
    nn_replace_end(&r, e);
    nn_locale_leave(&locale);
}

void nn_history_draw(const nn_history *h, const char *path, nn_error *e) {
    double *x = nn_take((size_t)h->count, 3 * sizeof *x, "curves", e), *loss, *validation;
    if (x == NULL) return;
    loss = x + h->count;
    validation = loss + h->count;
    bool validated = false;
    for (int64_t i = 0; i < h->count; i++) {
        x[i] = (double)h->epochs[i].epoch;
        loss[i] = h->epochs[i].loss;
        validation[i] = h->epochs[i].validation_loss;
        validated = validated || !isnan(validation[i]);
    }
    const nn_curve curves[] = {{"loss", h->count, x, loss}, {"validation loss", h->count, x, validation}};
    nn_curves_svg(path, curves, validated ? 2 : 1, &(nn_curves_options){.x_label = "epoch", .y_label = "loss"}, e);
    nn_release(x);
}
