/* Metrics: sums over batches, and what they come to. */
#include "nn/metrics.h"

#include "nn/train/train_impl.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct score {
    double score;
    bool positive;
} score;

struct nn_meter {
    nn_metric metric;
    int64_t count;       /* labels, or numbers */
    double hits;         /* top k */
    double log_loss;     /* perplexity */
    double squares;      /* of errors */
    double absolute;     /* errors */
    double mean, spread; /* of targets: Welford's sums */
    int64_t classes;
    int64_t *confusion;
    score *scores;
    int64_t score_count, score_room;
};

static const struct {
    const char *name;
    bool greater;
} kinds[] = {
#define X(NAME, name, greater) {#name, greater},
    NN_METRICS(X)
#undef X
};

static bool is_known(nn_metric_kind kind) { return (int)kind >= 0 && kind < NN_METRIC_KINDS; }

const char *nn_metric_name(nn_metric_kind kind) { return is_known(kind) ? kinds[kind].name : NULL; }
bool nn_metric_is_better_greater(nn_metric_kind kind) { return is_known(kind) && kinds[kind].greater; }

nn_meter *nn_meter_new(nn_metric metric, nn_error *e) {
    if (!is_known(metric.kind)) nn_fail(e, AG_ERR_VALUE, "metric: there is no kind %d", (int)metric.kind);
    if (metric.k < 0) nn_fail(e, AG_ERR_VALUE, "metric top_k: k is %d", metric.k);
    if (metric.k == 0) metric.k = 5;
    nn_meter *m = nn_take(1, sizeof *m, "metric", e);
    if (m != NULL) m->metric = metric;
    return m;
}

void nn_meter_reset(nn_meter *m) {
    if (m == NULL) return;
    nn_release(m->confusion);
    nn_release(m->scores);
    *m = (nn_meter){.metric = m->metric};
}

void nn_meter_free(nn_meter *m) {
    nn_meter_reset(m);
    nn_release(m);
}

/* ---- classes ---------------------------------------------------------------------------------------------------- */

static bool is_prefix(ag_shape labels, ag_shape logits) {
    bool same = labels.rank + 1 == logits.rank;
    for (int i = 0; same && i < labels.rank; i++) same = labels.dim[i] == logits.dim[i];
    return same;
}

/* Classes of the predictions: 1 stands for two classes told apart by a sign. -1 after an error. */
static int64_t classes_of(const nn_meter *m, const nn_array *predictions, const nn_array *labels, nn_error *e) {
    char p[NN_SHAPE_TEXT], l[NN_SHAPE_TEXT];
    if (is_prefix(labels->shape, predictions->shape)) {
        int64_t classes = predictions->shape.dim[labels->shape.rank];
        if (classes > 0) return classes;
    } else if (nn_array_count(predictions) == nn_array_count(labels)) return 1;
    nn_fail(e, AG_ERR_SHAPE, "metric %s: predictions of shape %s for labels of shape %s", kinds[m->metric.kind].name,
            nn_shape_words(predictions->shape, p), nn_shape_words(labels->shape, l));
    return -1;
}

/* A label; -1: it is left out, -2: there is an error. */
static int64_t label_at(const nn_meter *m, const nn_array *labels, int64_t i, int64_t classes, nn_error *e) {
    double x = nn_array_at(labels, i);
    int64_t most = classes == 1 ? 2 : classes;
    if (x == floor(x) && isfinite(x) && x < (double)most) return x < 0 ? -1 : (int64_t)x;
    nn_fail(e, AG_ERR_VALUE, "metric %s: label %" PRId64 " is %.17g, not one of 0 to %" PRId64,
            kinds[m->metric.kind].name, i, isnan(x) ? fabs(x) : x, most - 1);
    return -2;
}

static int64_t predicted(const nn_array *p, int64_t i, int64_t classes) {
    if (classes == 1) return nn_array_at(p, i) > 0;
    int64_t best = 0;
    for (int64_t c = 1; c < classes; c++)
        if (nn_array_at(p, i * classes + c) > nn_array_at(p, i * classes + best)) best = c;
    return best;
}

/* Whether fewer than k classes come before the label. */
static bool is_among(const nn_array *p, int64_t i, int64_t classes, int64_t label, int k) {
    if (classes == 1) return k > 1 || predicted(p, i, 1) == label;
    double own = nn_array_at(p, i * classes + label);
    int64_t before = 0;
    for (int64_t c = 0; c < classes; c++) {
        double x = nn_array_at(p, i * classes + c);
        before += x > own || (x == own && c < label) || (isnan(own) && c != label);
    }
    return before < k;
}

/* log(1 + exp(x)) */
static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

static double log_loss(const nn_array *p, int64_t i, int64_t classes, int64_t label) {
    if (classes == 1) return softplus(label == 1 ? -nn_array_at(p, i) : nn_array_at(p, i));
    double most = -INFINITY, sum = 0;
    for (int64_t c = 0; c < classes; c++) most = fmax(most, nn_array_at(p, i * classes + c));
    for (int64_t c = 0; c < classes; c++) sum += exp(nn_array_at(p, i * classes + c) - most);
    return most + log(sum) - nn_array_at(p, i * classes + label);
}

static bool open_confusion(nn_meter *m, int64_t classes, nn_error *e) {
    int64_t n = classes == 1 ? 2 : classes;
    if (m->confusion != NULL && m->classes == n) return true;
    if (m->confusion != NULL) {
        nn_fail(e, AG_ERR_SHAPE, "metric %s: %" PRId64 " classes, before %" PRId64, kinds[m->metric.kind].name, n,
                m->classes);
        return false;
    }
    if (n > 1 << 15) {
        nn_fail(e, AG_ERR_VALUE, "metric %s: %" PRId64 " classes are too many", kinds[m->metric.kind].name, n);
        return false;
    }
    m->classes = n;
    m->confusion = nn_take((size_t)(n * n), sizeof *m->confusion, "metric", e);
    return m->confusion != NULL;
}

static void add_score(nn_meter *m, const nn_array *p, int64_t i, int64_t classes, int64_t label, nn_error *e) {
    if (classes > 2) {
        nn_fail(e, AG_ERR_SHAPE, "metric auc: %" PRId64 " classes, not two", classes);
        return;
    }
    double x = classes == 1 ? nn_array_at(p, i) : nn_array_at(p, 2 * i + 1) - nn_array_at(p, 2 * i);
    void *items = m->scores;
    score *to = nn_append(&items, &m->score_count, &m->score_room, sizeof *to, "metric auc", e);
    m->scores = items;
    if (to != NULL) *to = (score){x, label == 1};
}

static void add_labels(nn_meter *m, const nn_array *p, const nn_array *labels, nn_error *e) {
    bool counts = m->metric.kind == NN_ACCURACY || m->metric.kind == NN_F1 || m->metric.kind == NN_PRECISION ||
                  m->metric.kind == NN_RECALL;
    int64_t classes = classes_of(m, p, labels, e), n = nn_array_count(labels);
    if (classes < 0 || (counts && !open_confusion(m, classes, e))) return;
    for (int64_t i = 0; i < n && nn_ok(e); i++) {
        int64_t label = label_at(m, labels, i, classes, e);
        if (label < 0) continue;
        m->count++;
        if (counts) m->confusion[label * m->classes + predicted(p, i, classes)]++;
        else if (m->metric.kind == NN_TOP_K) m->hits += is_among(p, i, classes, label, m->metric.k);
        else if (m->metric.kind == NN_PERPLEXITY) m->log_loss += log_loss(p, i, classes, label);
        else add_score(m, p, i, classes, label, e);
    }
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static void add_numbers(nn_meter *m, const nn_array *p, const nn_array *targets, nn_error *e) {
    char a[NN_SHAPE_TEXT], b[NN_SHAPE_TEXT];
    int64_t n = nn_array_count(p);
    if (n != nn_array_count(targets)) {
        nn_fail(e, AG_ERR_SHAPE, "metric %s: predictions of shape %s for targets of shape %s",
                kinds[m->metric.kind].name, nn_shape_words(p->shape, a), nn_shape_words(targets->shape, b));
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        double y = nn_array_at(targets, i), error = nn_array_at(p, i) - y, before = y - m->mean;
        m->count++;
        m->squares += error * error;
        m->absolute += fabs(error);
        m->mean += before / (double)m->count;
        m->spread += before * (y - m->mean);
    }
}

void nn_meter_add(nn_meter *m, const nn_array *predictions, const nn_array *targets, nn_error *e) {
    if (m == NULL || !nn_ok(e)) return;
    if (predictions == NULL || targets == NULL || predictions->data == NULL || targets->data == NULL)
        nn_fail(e, AG_ERR_VALUE, "metric %s: no predictions or no targets", kinds[m->metric.kind].name);
    else if (m->metric.kind >= NN_MSE) add_numbers(m, predictions, targets, e);
    else add_labels(m, predictions, targets, e);
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

static double ratio(double a, double b) { return b > 0 ? a / b : NAN; }

/* Of class c, 0 where it would be 0 / 0, as scikit-learn has it; NaN if the class does not occur. */
static double of_class(const nn_meter *m, int64_t c) {
    double both = (double)m->confusion[c * m->classes + c], labels = 0, predictions = 0;
    for (int64_t i = 0; i < m->classes; i++) {
        labels += (double)m->confusion[c * m->classes + i];
        predictions += (double)m->confusion[i * m->classes + c];
    }
    double below = (labels + predictions) / 2;
    if (below == 0) return NAN;
    if (m->metric.kind == NN_PRECISION) below = predictions;
    if (m->metric.kind == NN_RECALL) below = labels;
    return below > 0 ? both / below : 0;
}

static double of_classes(const nn_meter *m) {
    double sum = 0, occur = 0;
    if (m->count == 0) return NAN;
    if (m->metric.kind == NN_ACCURACY) {
        for (int64_t c = 0; c < m->classes; c++) sum += (double)m->confusion[c * m->classes + c];
        return ratio(sum, (double)m->count);
    }
    if (m->classes == 2) return of_class(m, 1);
    for (int64_t c = 0; c < m->classes; c++) {
        double x = of_class(m, c);
        occur += !isnan(x);
        sum += isnan(x) ? 0 : x;
    }
    return ratio(sum, occur);
}

static int by_score(const void *a, const void *b) {
    const score *x = a, *y = b;
    return (x->score > y->score) - (x->score < y->score);
}

/* Of pairs of a positive and a negative one, those in which the positive one's score is greater. */
static double area(const nn_meter *m) {
    double pairs = 0, negatives = 0, positives = 0;
    for (int64_t i = 0; i < m->score_count; i++)
        if (isnan(m->scores[i].score)) return NAN;
    qsort(m->scores, (size_t)m->score_count, sizeof *m->scores, by_score);
    for (int64_t i = 0, j; i < m->score_count; i = j) {
        double equal[2] = {0, 0};
        for (j = i; j < m->score_count && m->scores[j].score == m->scores[i].score; j++) equal[m->scores[j].positive]++;
        pairs += equal[1] * (negatives + equal[0] / 2);
        negatives += equal[0];
        positives += equal[1];
    }
    return ratio(pairs, positives * negatives);
}

double nn_meter_value(const nn_meter *m) {
    if (m == NULL) return NAN;
    double n = (double)m->count;
    switch (m->metric.kind) {
    case NN_TOP_K: return ratio(m->hits, n);
    case NN_AUC: return m->score_count > 0 ? area(m) : NAN;
    case NN_PERPLEXITY: return exp(ratio(m->log_loss, n));
    case NN_MSE: return ratio(m->squares, n);
    case NN_MAE: return ratio(m->absolute, n);
    case NN_R2: return 1 - ratio(m->squares, m->spread);
    default: return of_classes(m);
    }
}

const int64_t *nn_meter_confusion(const nn_meter *m, int64_t *classes) {
    if (m == NULL || m->confusion == NULL) return NULL;
    if (classes != NULL) *classes = m->classes;
    return m->confusion;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------ */

/* Of a meter: these numbers, then pairs of a place in the confusion and how often, then pairs of a score and its class. */
enum { KEPT_KIND, KEPT_K, KEPT_COUNT, KEPT_CLASSES, KEPT_PLACES, KEPT_SCORES, KEPT_SUMS, KEPT_NUMBERS = KEPT_SUMS + 6 };

static void put(nn_numbers *to, double number, nn_error *e) {
    void *items = to->x;
    double *at = nn_append(&items, &to->count, &to->room, sizeof *at, "metrics", e);
    to->x = items;
    if (at != NULL) *at = number;
}

void nn_meter_keep(const nn_meter *m, nn_numbers *to, nn_error *e) {
    int64_t places = m->classes * m->classes, used = 0;
    for (int64_t i = 0; i < places; i++) used += m->confusion[i] != 0;
    const double first[KEPT_NUMBERS] = {(double)m->metric.kind,
                                        (double)m->metric.k,
                                        (double)m->count,
                                        (double)m->classes,
                                        (double)used,
                                        (double)m->score_count,
                                        m->hits,
                                        m->log_loss,
                                        m->squares,
                                        m->absolute,
                                        m->mean,
                                        m->spread};
    for (int k = 0; k < KEPT_NUMBERS; k++) put(to, first[k], e);
    for (int64_t i = 0; i < places; i++) {
        if (m->confusion[i] == 0) continue;
        put(to, (double)i, e);
        put(to, (double)m->confusion[i], e);
    }
    for (int64_t i = 0; i < m->score_count; i++) {
        put(to, m->scores[i].score, e);
        put(to, m->scores[i].positive, e);
    }
}

static bool is_whole(double x, double most) { return x >= 0 && x <= most && x == floor(x); }

/* Whether all that follows the first numbers is there, and each is what it should be. */
static bool is_kept(const double *x, int64_t count) {
    const double most = 0x1p53;
    if (count < KEPT_NUMBERS || !is_whole(x[KEPT_KIND], NN_METRIC_KINDS - 1) || !is_whole(x[KEPT_K], 0x7fffffff) ||
        !is_whole(x[KEPT_COUNT], most) || !is_whole(x[KEPT_CLASSES], 1 << 15) || !is_whole(x[KEPT_PLACES], most) ||
        !is_whole(x[KEPT_SCORES], most))
        return false;
    double pairs = x[KEPT_PLACES] + x[KEPT_SCORES], places = x[KEPT_CLASSES] * x[KEPT_CLASSES];
    if (pairs > (double)(count - KEPT_NUMBERS) / 2) return false;
    for (int64_t i = 0; i < (int64_t)pairs; i++) {
        const double *pair = x + KEPT_NUMBERS + 2 * i;
        bool place = i < (int64_t)x[KEPT_PLACES];
        if (place ? !(is_whole(pair[0], places - 1) && is_whole(pair[1], most)) : !is_whole(pair[1], 1)) return false;
    }
    return true;
}

int64_t nn_meter_take_up(nn_meter *m, const double *x, int64_t count, nn_error *e) {
    if (!nn_ok(e)) return count;
    if (!is_kept(x, count)) {
        nn_fail(e, AG_ERR_VALUE, "metric %s: what was kept of it is damaged", kinds[m->metric.kind].name);
        return count;
    }
    int64_t places = (int64_t)x[KEPT_PLACES], scores = (int64_t)x[KEPT_SCORES];
    const double *pair = x + KEPT_NUMBERS;
    int64_t size = KEPT_NUMBERS + 2 * (places + scores);
    if (x[KEPT_KIND] != (double)m->metric.kind || x[KEPT_K] != (double)m->metric.k) return size;
    nn_meter_reset(m);
    m->count = (int64_t)x[KEPT_COUNT];
    m->hits = x[KEPT_SUMS];
    m->log_loss = x[KEPT_SUMS + 1];
    m->squares = x[KEPT_SUMS + 2];
    m->absolute = x[KEPT_SUMS + 3];
    m->mean = x[KEPT_SUMS + 4];
    m->spread = x[KEPT_SUMS + 5];
    if (x[KEPT_CLASSES] > 0 && !open_confusion(m, (int64_t)x[KEPT_CLASSES], e)) return count;
    for (int64_t i = 0; i < places; i++, pair += 2) m->confusion[(int64_t)pair[0]] = (int64_t)pair[1];
    for (int64_t i = 0; i < scores && nn_ok(e); i++, pair += 2) {
        void *items = m->scores;
        score *to = nn_append(&items, &m->score_count, &m->score_room, sizeof *to, "metric auc", e);
        m->scores = items;
        if (to != NULL) *to = (score){pair[0], pair[1] != 0};
    }
    return size;
}
