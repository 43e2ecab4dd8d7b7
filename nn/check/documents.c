#include "nn/check/documents_impl.h"

#include "nn/check/claim_impl.h"
#include "nn/check/literal.h"
#include "nn/memory.h"

#include <math.h>

enum { ENTRIES = NN_DOCUMENT_ENTRIES, DRAWS = NN_DOCUMENT_DRAWS };

/* ---- the formulas that documents share ------------------------------------------------------------------------- */

double nn_sigmoid(double z) { return 1 / (1 + exp(-z)); }

void nn_softmax(const double *z, int k, double *p) {
    double sum = 0;
    for (int i = 0; i < k; i++) sum += exp(z[i]);
    for (int i = 0; i < k; i++) p[i] = exp(z[i]) / sum;
}

double nn_dot(const double *x, const double *y, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

ag_var nn_record_sigmoid(ag_var z) { return ag_div(1, ag_add(1, ag_exp(ag_neg(z)))); }

ag_var nn_record_softmax(ag_var z) {
    ag_var e = ag_exp(z);
    return ag_div(e, ag_sum_over(e, AG_AXES(-1), true));
}

ag_var nn_record_bce(ag_var yhat, ag_var y) {
    ag_var right = ag_mul(y, ag_log(yhat)), wrong = ag_mul(ag_sub(1, y), ag_log(ag_sub(1, yhat)));
    return ag_neg(ag_add(right, wrong));
}

/* ---- both sides of a claim ------------------------------------------------------------------------------------- */

static bool fits(nn_derivation *d, ag_var x) {
    if (ag_count(x) > ENTRIES)
        ag_fail(d->tape, AG_ERR_SHAPE, "a claim about %lld numbers, not up to %d", (long long)ag_count(x), ENTRIES);
    d->shape = ag_shape_of(x);
    return ag_tape_status(d->tape) == AG_OK;
}

void nn_right_value(nn_derivation *d, ag_var x) {
    if (fits(d, x)) ag_read(x, d->right);
}

void nn_right_grad(nn_derivation *d, ag_var x) {
    if (fits(d, x)) ag_read_grad(x, d->right);
}

/* All draws of a claim, one after the other. */
typedef struct draws {
    nn_derivation derivation;
    double right[DRAWS * ENTRIES], claimed[DRAWS * ENTRIES], base[DRAWS * ENTRIES], term[DRAWS * ENTRIES];
    double unit[ENTRIES];
    ag_shape claimed_shape;
} draws;

static void fail(nn_document_finding *finding, ag_status status, const char *message) {
    finding->status = status;
    snprintf(finding->message, sizeof finding->message, "%s", message);
}

static bool compute_draws(const nn_document_claim *claim, draws *all, nn_document_finding *finding) {
    nn_derivation *d = &all->derivation;
    for (int draw = 0; draw < finding->draws; draw++) {
        ag_tape_clear(d->tape);
        claim->compute(d);
        if (ag_tape_status(d->tape) != AG_OK) {
            fail(finding, ag_tape_status(d->tape), ag_tape_message(d->tape));
            return false;
        }
        size_t count = (size_t)nn_shape_count(d->shape), start = (size_t)draw * count, size = count * sizeof(double);
        memcpy(all->right + start, d->right, size);
        memcpy(all->claimed + start, d->claimed, size);
        memcpy(all->base + start, d->base, size);
        memcpy(all->term + start, d->term, size);
    }
    all->claimed_shape = d->shape;
    if (claim->printed == NULL ||
        nn_literal_array(claim->printed, ENTRIES, &all->claimed_shape, all->claimed, all->unit))
        return true;
    fail(finding, AG_ERR_VALUE, "the printed numbers are not a number, a vector or a matrix");
    return false;
}

static void judge(const nn_document_claim *claim, const draws *all, nn_document_finding *finding) {
    const nn_derivation *d = &all->derivation;
    nn_claim c = {.draws = finding->draws,
                  .right_shape = d->shape,
                  .claimed_shape = all->claimed_shape,
                  .right = all->right,
                  .claimed = all->claimed,
                  .unit = claim->printed != NULL ? all->unit : NULL,
                  .base = d->base_name != NULL ? all->base : NULL,
                  .base_name = d->base_name,
                  .term = d->term_name != NULL ? all->term : NULL,
                  .term_name = d->term_name,
                  .sizes = &d->size,
                  .size_count = d->size.name != NULL};
    finding->comparison = nn_claim_compare(&c);
    finding->diagnosis = nn_claim_diagnose(&c);
    finding->right_shape = c.right_shape;
    finding->claimed_shape = c.claimed_shape;
    size_t right = (size_t)nn_shape_count(c.right_shape), claimed = (size_t)nn_shape_count(c.claimed_shape);
    size_t draw = (size_t)finding->comparison.draw;
    memcpy(finding->right, c.right + draw * right, right * sizeof(double));
    memcpy(finding->claimed, c.claimed + draw * claimed, claimed * sizeof(double));
}

nn_document_finding nn_document_check(const nn_document_claim *claim, uint64_t seed) {
    nn_document_finding finding;
    memset(&finding, 0, sizeof finding);
    finding.draws = claim->printed == NULL ? DRAWS : 1;
    draws *all = nn_allocate(1, sizeof *all);
    if (all == NULL) {
        fail(&finding, AG_ERR_MEMORY, "out of memory for the draws of a claim");
        return finding;
    }
    all->derivation.random.state = seed;
    all->derivation.tape = ag_tape_new(AG_F64);
    if (compute_draws(claim, all, &finding)) judge(claim, all, &finding);
    ag_tape_free(all->derivation.tape);
    nn_release(all);
    return finding;
}

const nn_document *const *nn_documents(int *count) {
    static const nn_document *const documents[] = {&nn_document_000, &nn_document_001, &nn_document_002,
                                                   &nn_document_003, &nn_document_004};
    *count = (int)(sizeof documents / sizeof documents[0]);
    return documents;
}
