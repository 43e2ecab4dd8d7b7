/* Metrics, against what counting by hand gives, over one batch and over several. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "nn/memory.h"
#include "nn/metrics.h"
#include "nn/random.h"
#include "nn/train/train_impl.h"

enum { N = 60 };

static nn_array floats(ag_shape shape, const double *x) {
    nn_error e = {0};
    nn_array a = nn_array_new(NN_F32, shape, &e);
    assert_int_equal(e.status, AG_OK);
    for (int64_t i = 0; i < nn_array_count(&a); i++) ((float *)a.data)[i] = (float)x[i];
    return a;
}

static double measure(nn_metric metric, ag_shape shape, const double *p, ag_shape target_shape, const double *y) {
    nn_error e = {0};
    nn_array predictions = floats(shape, p), targets = floats(target_shape, y);
    nn_meter *m = nn_meter_new(metric, &e);
    nn_meter_add(m, &predictions, &targets, &e);
    if (e.status != AG_OK) fail_msg("%s", e.message);
    double value = nn_meter_value(m);
    nn_meter_free(m);
    nn_array_free(&predictions);
    nn_array_free(&targets);
    return value;
}

static void expect(const char *what, double got, double want) {
    if (!(fabs(got - want) < 1e-6 || (isnan(got) && isnan(want))))
        fail_msg("%s is %.9g, should be %.9g", what, got, want);
}

/* Labels 0 0 1 2 2 2 and one left out; predicted 0 1 1 2 2 0; there is no label 3. */
static const double logits[] = {5, 1,  0, -1, 1, 5,  0, -1, 1, 5,  0, -1, 0, 1,
                                5, -1, 0, 1,  2, -1, 3, 1,  2, -1, 9, 9,  9, 9};
static const double labels[] = {0, 0, 1, 2, 2, 2, -1};

static void classes(void **state) {
    (void)state;
    ag_shape p = AG_SHAPE(7, 4), l = AG_SHAPE(7);
    expect("accuracy", measure((nn_metric){.kind = NN_ACCURACY}, p, logits, l, labels), 4.0 / 6);
    expect("top 2", measure((nn_metric){.kind = NN_TOP_K, .k = 2}, p, logits, l, labels), 1);
    expect("top 1", measure((nn_metric){.kind = NN_TOP_K, .k = 1}, p, logits, l, labels), 4.0 / 6);
    expect("precision", measure((nn_metric){.kind = NN_PRECISION}, p, logits, l, labels), (0.5 + 0.5 + 1) / 3);
    expect("recall", measure((nn_metric){.kind = NN_RECALL}, p, logits, l, labels), (0.5 + 1 + 2.0 / 3) / 3);
    expect("f1", measure((nn_metric){.kind = NN_F1}, p, logits, l, labels), (0.5 + 2.0 / 3 + 0.8) / 3);
    double loss = 0;
    for (int i = 0; i < 6; i++) {
        double sum = 0;
        for (int c = 0; c < 4; c++) sum += exp(logits[i * 4 + c]);
        loss -= log(exp(logits[i * 4 + (int)labels[i]]) / sum) / 6;
    }
    expect("perplexity", measure((nn_metric){.kind = NN_PERPLEXITY}, p, logits, l, labels), exp(loss));
    expect("equal logits",
           measure((nn_metric){.kind = NN_ACCURACY}, AG_SHAPE(1, 2), (double[]){1, 1}, AG_SHAPE(1), (double[]){0}), 1);
    expect("nan is no hit",
           measure((nn_metric){.kind = NN_TOP_K, .k = 1}, AG_SHAPE(1, 2), (double[]){NAN, NAN}, AG_SHAPE(1),
                   (double[]){1}),
           0);
    expect("sequences", measure((nn_metric){.kind = NN_ACCURACY}, AG_SHAPE(2, 3, 4), logits, AG_SHAPE(2, 3), labels),
           4.0 / 6);
}

static void two_classes(void **state) {
    (void)state;
    ag_shape n = AG_SHAPE(6), column = AG_SHAPE(6, 1);
    const double p[] = {-1, 2, 0.5, 0.5, -3, 1}, y[] = {0, 1, 1, 0, 1, 0}; /* predicted 0 1 1 1 0 1 */
    expect("accuracy", measure((nn_metric){.kind = NN_ACCURACY}, n, p, n, y), 0.5);
    expect("accuracy of a column", measure((nn_metric){.kind = NN_ACCURACY}, column, p, column, y), 0.5);
    expect("precision", measure((nn_metric){.kind = NN_PRECISION}, n, p, n, y), 0.5);
    expect("recall", measure((nn_metric){.kind = NN_RECALL}, n, p, n, y), 2.0 / 3);
    expect("f1", measure((nn_metric){.kind = NN_F1}, n, p, n, y), 2 * 0.5 * (2.0 / 3) / (0.5 + 2.0 / 3));
    double loss = 0;
    for (int i = 0; i < 6; i++) loss += log1p(exp(y[i] == 1 ? -p[i] : p[i])) / 6;
    expect("perplexity", measure((nn_metric){.kind = NN_PERPLEXITY}, n, p, n, y), exp(loss));
    /* positives 2, 0.5, -3; negatives -1, 0.5, 1: 3 + (1 + 1/2) + 0 of 9 pairs */
    expect("auc", measure((nn_metric){.kind = NN_AUC}, n, p, n, y), 4.5 / 9);
    expect("auc of one class", measure((nn_metric){.kind = NN_AUC}, n, p, n, (double[]){1, 1, 1, 1, 1, 1}), NAN);
    const double pair[] = {0, -1, 0, 2, 0, 0.5, 1, 1.5, 0, -3, 0, 1};
    expect("auc of two logits", measure((nn_metric){.kind = NN_AUC}, AG_SHAPE(6, 2), pair, n, y), 4.5 / 9);
}

static void numbers_(void **state) {
    (void)state;
    const double p[] = {1, 2, 4, 4}, y[] = {1, 3, 3, 5};
    ag_shape n = AG_SHAPE(4), m = AG_SHAPE(2, 2);
    expect("mse", measure((nn_metric){.kind = NN_MSE}, n, p, m, y), 0.75);
    expect("mae", measure((nn_metric){.kind = NN_MAE}, n, p, m, y), 0.75);
    expect("r2", measure((nn_metric){.kind = NN_R2}, n, p, m, y), 1 - 3.0 / 8);
    expect("r2 of equal targets", measure((nn_metric){.kind = NN_R2}, n, p, n, (double[]){2, 2, 2, 2}), NAN);
}

/* What a meter becomes that another one takes up. */
static nn_meter *taken_up(nn_meter *m, nn_metric metric, nn_error *e) {
    nn_numbers kept = {0};
    nn_meter_keep(m, &kept, e);
    nn_meter_keep(m, &kept, e); /* another one's, behind it */
    nn_meter *other = nn_meter_new(metric, e);
    assert_int_equal(nn_meter_take_up(other, kept.x, kept.count, e), kept.count / 2);
    nn_meter_free(m);
    nn_release(kept.x);
    return other;
}

/* Numbers of a checkpoint that somebody has changed, or cut off. */
static void damaged_numbers_are_errors(void **state) {
    (void)state;
    static const double wrong[] = {-1, 0.5, 1e300, INFINITY, NAN, 7};
    static const nn_metric_kind all[] = {NN_ACCURACY, NN_AUC, NN_R2};
    for (int k = 0; k < 3; k++) {
        nn_error e = {0};
        nn_array p = floats(AG_SHAPE(3), (double[]){1, -1, 2}), y = floats(AG_SHAPE(3), (double[]){1, 1, 0});
        nn_meter *m = nn_meter_new((nn_metric){.kind = all[k]}, &e),
                 *to = nn_meter_new((nn_metric){.kind = all[k]}, &e);
        nn_numbers kept = {0};
        nn_meter_add(m, &p, &y, &e);
        nn_meter_keep(m, &kept, &e);
        assert_int_equal(e.status, AG_OK);
        int refused = 0;
        for (int64_t i = 0; i < kept.count; i++) {
            for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
                double right = kept.x[i];
                kept.x[i] = wrong[w];
                assert_in_range(nn_meter_take_up(to, kept.x, kept.count, &e), 1, kept.count);
                (void)nn_meter_value(to);
                refused += e.status != AG_OK;
                kept.x[i] = right;
                e = (nn_error){0};
            }
            assert_int_equal(nn_meter_take_up(to, kept.x, i, &e), i);
            assert_int_equal(e.status, AG_ERR_VALUE);
            e = (nn_error){0};
        }
        assert_true(refused > 20);
        nn_release(kept.x);
        nn_meter_free(m);
        nn_meter_free(to);
        nn_array_free(&p);
        nn_array_free(&y);
    }
}

/* Batches of any size give the same, on one meter or on several that go on where another one was. */
static void batches(void **state) {
    (void)state;
    nn_random random = {7};
    double p[N * 3], y[N];
    for (int i = 0; i < N * 3; i++) p[i] = nn_random_normal(&random);
    for (int i = 0; i < N; i++) y[i] = (double)nn_random_below(&random, 3);
    for (int kind = 0; kind < NN_METRIC_KINDS; kind++) {
        bool many = kind != NN_AUC && kind < NN_MSE;
        int width = many ? 3 : 1;
        for (int i = 0; i < N; i++) y[i] = many ? y[i] : fmin(y[i], 1);
        nn_metric metric = {.kind = (nn_metric_kind)kind, .k = 2};
        double whole = measure(metric, many ? AG_SHAPE(N, 3) : AG_SHAPE(N), p, AG_SHAPE(N), y);
        nn_error e = {0};
        nn_meter *m = nn_meter_new(metric, &e);
        for (int round = 0; round < 2; round++) {
            nn_meter_reset(m);
            assert_true(isnan(nn_meter_value(m)));
            for (int64_t at = 0, n; at < N; at += n) {
                n = at % 7 + 1 < N - at ? at % 7 + 1 : N - at;
                nn_array a = floats(many ? AG_SHAPE(n, 3) : AG_SHAPE(n), p + at * width),
                         b = floats(AG_SHAPE(n), y + at);
                nn_meter_add(m, &a, &b, &e);
                nn_array_free(&a);
                nn_array_free(&b);
                if (round == 1 && at % 3 == 0) m = taken_up(m, metric, &e);
            }
            if (e.status != AG_OK) fail_msg("%s", e.message);
            expect(nn_metric_name(metric.kind), nn_meter_value(m), whole);
        }
        int64_t count = 0, size = 0;
        const int64_t *confusion = nn_meter_confusion(m, &size);
        assert_true((confusion != NULL) ==
                    (kind == NN_ACCURACY || kind == NN_F1 || kind == NN_PRECISION || kind == NN_RECALL));
        for (int64_t i = 0; confusion != NULL && i < size * size; i++) count += confusion[i];
        assert_true(confusion == NULL || (size == 3 && count == N));
        nn_meter_free(m);
    }
}

static void refuse(nn_metric metric, ag_shape p_shape, ag_shape y_shape, double label, ag_status status,
                   const char *message) {
    double p[24] = {0}, y[24] = {0};
    nn_error e = {0};
    y[1] = label;
    nn_array a = floats(p_shape, p), b = floats(y_shape, y);
    nn_meter *m = nn_meter_new(metric, &e);
    nn_meter_add(m, &a, &b, &e);
    assert_int_equal(e.status, status);
    if (strcmp(e.message, message) != 0) fail_msg("%s", e.message);
    nn_meter_free(m);
    nn_array_free(&a);
    nn_array_free(&b);
}

static void errors(void **state) {
    (void)state;
    nn_metric accuracy = {.kind = NN_ACCURACY};
    refuse(accuracy, AG_SHAPE(4, 3), AG_SHAPE(5), 0, AG_ERR_SHAPE,
           "metric accuracy: predictions of shape (4, 3) for labels of shape (5)");
    refuse(accuracy, AG_SHAPE(4, 3), AG_SHAPE(4), 3, AG_ERR_VALUE, "metric accuracy: label 1 is 3, not one of 0 to 2");
    refuse(accuracy, AG_SHAPE(4), AG_SHAPE(4), 0.5, AG_ERR_VALUE, "metric accuracy: label 1 is 0.5, not one of 0 to 1");
    refuse(accuracy, AG_SHAPE(4, 3), AG_SHAPE(4), -0.5, AG_ERR_VALUE,
           "metric accuracy: label 1 is -0.5, not one of 0 to 2");
    refuse(accuracy, AG_SHAPE(4, 3), AG_SHAPE(4), -INFINITY, AG_ERR_VALUE,
           "metric accuracy: label 1 is -inf, not one of 0 to 2");
    refuse(accuracy, AG_SHAPE(4, 3), AG_SHAPE(4), NAN, AG_ERR_VALUE,
           "metric accuracy: label 1 is nan, not one of 0 to 2");
    refuse((nn_metric){.kind = NN_AUC}, AG_SHAPE(4, 3), AG_SHAPE(4), 0, AG_ERR_SHAPE, "metric auc: 3 classes, not two");
    refuse((nn_metric){.kind = NN_R2}, AG_SHAPE(4, 3), AG_SHAPE(4), 0, AG_ERR_SHAPE,
           "metric r2: predictions of shape (4, 3) for targets of shape (4)");
    refuse((nn_metric){.kind = NN_METRIC_KINDS}, AG_SHAPE(4), AG_SHAPE(4), 0, AG_ERR_VALUE,
           "metric: there is no kind 10");
    refuse((nn_metric){.kind = NN_TOP_K, .k = -1}, AG_SHAPE(4), AG_SHAPE(4), 0, AG_ERR_VALUE, "metric top_k: k is -1");
    assert_null(nn_metric_name(NN_METRIC_KINDS));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes), cmocka_unit_test(two_classes), cmocka_unit_test(numbers_),
        cmocka_unit_test(batches), cmocka_unit_test(errors),      cmocka_unit_test(damaged_numbers_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
