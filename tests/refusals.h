/* For tests in which memory is refused, request after request. */
#ifndef REFUSALS_H
#define REFUSALS_H

/* Permits `left` requests, then refuses one, or all that follow. */
typedef struct budget {
    int64_t left;
    bool for_good;
    int64_t refused;
} budget;

static bool permit(void *context, size_t bytes) {
    budget *b = context;
    bool refused = b->for_good ? b->left <= 0 : b->left == 0;
    (void)bytes;
    b->left--;
    b->refused += refused;
    return !refused;
}

enum { NUMBERS = 512 };

typedef struct results {
    ag_status status; /* the first error */
    char message[640];
    int count;
    double number[NUMBERS];
} results;

static void note_status(results *r, ag_status status, const char *message) {
    if (status == AG_OK || r->status != AG_OK) return;
    r->status = status;
    snprintf(r->message, sizeof r->message, "%s", message);
}

static void note_numbers(results *r, const double *x, int64_t n) {
    for (int64_t i = 0; i < n && r->count < NUMBERS; i++) r->number[r->count++] = x[i];
}

/* Does part `part` with request `at` of its own refused. */
typedef results work_of_parts(int part, int64_t at, budget *b, bool no_reserve);

static void check_results(const results *got, const results *want, const char *when, int64_t at) {
    if (got->status != AG_OK) fail_msg("%s, request %lld: %s", when, (long long)at, got->message);
    assert_int_equal(got->count, want->count);
    for (int i = 0; i < got->count; i++)
        if (number_error(got->number[i], want->number[i]) > 1e-12)
            fail_msg("%s, request %lld: number %d is %.17g, should be %.17g", when, (long long)at, i, got->number[i],
                     want->number[i]);
}

static bool refuse(work_of_parts *work, int part, int64_t at, bool for_good, bool no_reserve, const results *want) {
    budget b = {.for_good = for_good};
    results r = work(part, at, &b, no_reserve);
    if (b.refused == 0) {
        check_results(&r, want, "nothing refused", at);
        return false;
    }
    if (r.status == AG_OK) check_results(&r, want, "refused", at); /* it did without */
    else if (r.status != AG_ERR_MEMORY || !strstr(r.message, "memory"))
        fail_msg("part %d, request %lld refused: status %d, \"%s\"", part, (long long)at, (int)r.status, r.message);
    return true;
}

/* Every step-th request of each part in turn. */
static void refuse_each(work_of_parts *work, int parts, bool for_good, bool no_reserve, int64_t step) {
    for (int part = 0; part < parts; part++) {
        budget b = {0};
        results want = work(part, INT64_MAX, &b, no_reserve);
        if (want.status != AG_OK) fail_msg("part %d: %s", part, want.message);
        assert_in_range(want.count, 1, NUMBERS - 1);
        int64_t at = part % step;
        while (refuse(work, part, at, for_good, no_reserve, &want)) at += step;
        assert_in_range(at, 10, 5000);
    }
}

#endif
