/* Claimed beside right, entry by entry, and the finding that comes of it. */
#include "nn/check/backward/backward_impl.h"

#include <math.h>

/* What one array is compared by; low and high are `right` where there is no kink. */
typedef struct comparison {
    ag_shape shape;
    int64_t count;
    int rows, seeds;
    const double *claimed, *low, *high;
    double *right, *slack;
} comparison;

/* How far a claim is from being right: 0 in the interval of a kink, infinite for NaN. */
static double error_at(const comparison *m, int64_t i) {
    if (m->claimed[i] == m->right[i] || (m->claimed[i] >= m->low[i] && m->claimed[i] <= m->high[i])) return 0;
    double error = fmin(fabs(m->claimed[i] - m->right[i]),
                        fmin(fabs(m->claimed[i] - m->low[i]), fabs(m->claimed[i] - m->high[i])));
    return isnan(m->claimed[i]) || isnan(m->right[i]) || isnan(error) ? (double)INFINITY : error;
}

static double ratio_at(const comparison *m, int64_t i) {
    double error = error_at(m, i);
    return error == 0 ? 0 : isinf(error) ? (double)INFINITY : error / m->slack[i];
}

static void judge(const comparison *m, nn_backward_finding *f) {
    double greatest = -1;
    f->checked = true;
    for (int64_t i = 0; i < m->rows * m->count; i++) {
        double ratio = ratio_at(m, i);
        f->compared++;
        f->wrong += ratio > 1;
        f->kinks += m->high[i] - m->low[i] > m->slack[i];
        if (ratio <= greatest) continue;
        greatest = ratio;
        f->error = error_at(m, i);
        f->allowed = m->slack[i];
        f->draw = (int)(i / m->count / m->seeds);
        f->entry = i % m->count;
        f->claimed = m->claimed[i];
        f->right = m->right[i];
    }
    f->holds = f->wrong == 0;
}

static void write_array(ag_shape shape, const double *x, char *text) {
    int64_t count = nn_shape_count(shape);
    if (shape.rank > 2) { /* rows along the last axis */
        int64_t last = shape.dim[shape.rank - 1];
        shape = (ag_shape){2, {count / last, last}};
    }
    nn_array_text(shape, x, 6, text, NN_TEXT);
    size_t length = strlen(text);
    if (length == NN_TEXT - 1) memcpy(text + length - 3, "...", 3);
}

/* Both arrays at the worst draw: the row in which its worst entry is. */
static void write_arrays(const comparison *m, nn_backward_finding *f) {
    int64_t row = 0;
    double greatest = -1;
    for (int64_t i = 0; i < m->rows * m->count; i++)
        if (ratio_at(m, i) > greatest) {
            greatest = ratio_at(m, i);
            row = i / m->count;
        }
    write_array(m->shape, m->claimed + row * m->count, f->claimed_text);
    write_array(m->shape, m->right + row * m->count, f->right_text);
}

/* One tolerance for the diagnosis: the greatest slack of entries that are known well, but such that what is wrong stays
 * wrong. Entries that are right and not known that well, or at a kink, are taken to be what is claimed. */
static double settle(const comparison *m) {
    double tolerance = 0, most = 0, size = 0;
    for (int64_t i = 0; i < m->rows * m->count; i++) size = fmax(size, fabs(m->right[i]));
    for (int64_t i = 0; i < m->rows * m->count; i++) {
        if (m->slack[i] <= 0.02 * size) tolerance = fmax(tolerance, m->slack[i]);
        if (ratio_at(m, i) > 1) most = fmax(most, fabs(m->claimed[i] - m->right[i]));
    }
    if (most > 0 && tolerance > most / 2) tolerance = most / 2;
    for (int64_t i = 0; i < m->rows * m->count; i++)
        if (ratio_at(m, i) <= 1 && fabs(m->claimed[i] - m->right[i]) > tolerance) m->right[i] = m->claimed[i];
    return tolerance;
}

static nn_claim claim_of(nn_backward_check *c, const comparison *m) {
    nn_claim claim;
    memset(&claim, 0, sizeof claim);
    claim.draws = m->rows;
    claim.right_shape = claim.claimed_shape = m->shape;
    claim.right = m->right;
    claim.claimed = m->claimed;
    claim.sizes = c->sizes;
    claim.size_count = c->size_count;
    if (c->b->record == NULL || c->b->type == AG_F32 || c->b->tolerance > 0) claim.tolerance = settle(m);
    return claim;
}

void nn_backward_judge_input(nn_backward_check *c, int i) {
    nn_backward_finding *f = &c->report->inputs[i];
    f->name = c->b->inputs[i].name;
    if (c->claimed[i] == NULL) return;
    const comparison m = {
        c->b->inputs[i].shape, c->in_count[i], c->rows, c->seeds, c->claimed[i], c->low[i], c->high[i],
        c->right[i],           c->slack[i]};
    judge(&m, f);
    if (f->holds) return;
    write_arrays(&m, f);
    nn_claim claim = claim_of(c, &m);
    nn_backward_diagnose(c, i, &claim, f);
}

/* Values have no candidates for what is wrong but those that every claim has. */
void nn_backward_judge_output(nn_backward_check *c, int o) {
    nn_backward_finding *f = &c->report->outputs[o];
    f->name = c->b->outputs[o].name;
    if (c->b->record == NULL) return;
    const comparison m = {c->b->outputs[o].shape, c->out_count[o], c->rows,       c->seeds,     c->y[o],
                          c->right_y[o],          c->right_y[o],   c->right_y[o], c->slack_y[o]};
    judge(&m, f);
    if (f->holds) return;
    write_arrays(&m, f);
    nn_claim claim = claim_of(c, &m);
    nn_diagnosis d = nn_claim_diagnose(&claim);
    snprintf(f->kind, sizeof f->kind, "%s", nn_diagnosis_name(d.kind));
    snprintf(f->detail, sizeof f->detail, "%s", d.detail);
}
