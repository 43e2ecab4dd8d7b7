/* Means and standard deviations, and numbers scaled by them. */
#include "nn/data/data_impl.h"

#include <inttypes.h>
#include <math.h>

static int64_t groups_of(const struct nn_field *f, nn_grouping grouping) {
    if (grouping == NN_PER_ELEMENT) return nn_elements(f->shape, 1);
    return grouping == NN_PER_CHANNEL && f->shape.rank > 0 ? f->shape.dim[0] : 1;
}

/* What is added up for each group: first the numbers' distances from the first of them, so that the mean of a constant is
 * exact; then the squares of their distances from the mean. */
typedef struct sums {
    int64_t groups, each; /* numbers of a sample in a group */
    double *count, *first, *mean, *square;
    double *sample;
    bool second;
} sums;

/* The first number; NaN if there is none. */
static double first_of(const double *x, int64_t n) {
    for (; n > 1 && isnan(*x); n--) x++;
    return *x;
}

static void add_sample(sums *s) {
    const double *x = s->sample;
    for (int64_t g = 0; g < s->groups; g++, x += s->each) {
        double sum = 0, count = 0;
        if (!s->second && s->count[g] == 0) s->first[g] = first_of(x, s->each);
        double from = s->second ? s->mean[g] : s->first[g];
        for (int64_t k = 0; k < s->each; k++) {
            double distance = x[k] - from;
            if (isnan(distance)) continue;
            sum += s->second ? distance * distance : distance;
            count++;
        }
        if (s->second) {
            s->square[g] += sum;
        } else {
            s->mean[g] += sum;
            s->count[g] += count;
        }
    }
}

static void add_all(sums *s, const nn_dataset *set, int field, nn_error *e) {
    const struct nn_field *f = &set->fields[field];
    int64_t elements = s->groups * s->each;
    for (int64_t i = 0; i < set->count; i++) {
        (void)nn_convert(f->type, f->data + nn_row(set, i) * f->stride, NN_F64, s->sample, elements);
        for (int64_t k = 0; !s->second && k < elements; k++)
            if (isinf(s->sample[k])) {
                nn_fail(e, AG_ERR_VALUE, "scale: element %" PRId64 " of row %" PRId64 " is infinite", k,
                        nn_row(set, i));
                return;
            }
        add_sample(s);
    }
}

static void fit(const nn_dataset *set, int field, int64_t groups, nn_scale *scale, nn_error *e) {
    int64_t elements = nn_elements(set->fields[field].shape, sizeof(double));
    sums s = {.groups = groups,
              .each = elements / groups,
              .count = nn_take((size_t)groups, sizeof(double), "scale", e),
              .first = nn_take((size_t)groups, sizeof(double), "scale", e),
              .mean = scale->mean.data,
              .square = scale->deviation.data,
              .sample = nn_take((size_t)elements, sizeof(double), "scale", e)};
    if (nn_ok(e)) add_all(&s, set, field, e);
    for (int64_t g = 0; nn_ok(e) && g < groups; g++)
        s.mean[g] = s.count[g] > 0 ? s.first[g] + s.mean[g] / s.count[g] : 0;
    s.second = true;
    if (nn_ok(e)) add_all(&s, set, field, e);
    for (int64_t g = 0; nn_ok(e) && g < groups; g++) {
        double *deviation = &s.square[g];
        *deviation = sqrt(*deviation / fmax(1, s.count[g]));
        if (!(*deviation > 0)) *deviation = 1;
        if (!isfinite(s.mean[g]) || !isfinite(*deviation))
            nn_fail(e, AG_ERR_VALUE, "scale: the numbers of group %" PRId64 " are too large to be added up", g);
    }
    nn_release(s.count);
    nn_release(s.first);
    nn_release(s.sample);
}

nn_scale nn_scale_fit(const nn_dataset *set, int field, nn_grouping grouping, nn_error *e) {
    nn_scale scale = {0};
    if (!nn_given(set, "scale: the data set", e)) return scale;
    if (set->count < 1 || field < 0 || field >= set->field_count) {
        nn_fail(e, AG_ERR_VALUE, "scale: %" PRId64 " samples, field %d of %d", set->count, field, set->field_count);
        return scale;
    }
    if (grouping < NN_PER_FIELD || grouping > NN_PER_ELEMENT) {
        nn_fail(e, AG_ERR_VALUE, "scale: there is no grouping %d", (int)grouping);
        return scale;
    }
    int64_t groups = groups_of(&set->fields[field], grouping);
    if (nn_elements(set->fields[field].shape, 1) < 1) nn_fail(e, AG_ERR_SHAPE, "scale: samples without numbers");
    scale.mean = nn_array_new(NN_F64, (ag_shape){1, {groups}}, e);
    scale.deviation = nn_array_new(NN_F64, (ag_shape){1, {groups}}, e);
    if (nn_ok(e)) fit(set, field, groups, &scale, e);
    if (!nn_ok(e)) nn_scale_free(&scale);
    return scale;
}

void nn_scale_free(nn_scale *scale) {
    if (scale == NULL) return;
    nn_array_free(&scale->mean);
    nn_array_free(&scale->deviation);
}

static void scale_doubles(double *x, int64_t n, double mean, double deviation, bool fill) {
    for (int64_t k = 0; k < n; k++) x[k] = fill && isnan(x[k]) ? 0 : (x[k] - mean) / deviation;
}

static void scale_floats(float *x, int64_t n, double mean, double deviation, bool fill) {
    double factor = 1 / deviation; /* its error is far below a float's */
    for (int64_t k = 0; k < n; k++) x[k] = fill && isnan(x[k]) ? 0 : (float)(((double)x[k] - mean) * factor);
}

void nn_scale_apply(const nn_scale *scale, nn_type type, void *data, int64_t samples, int64_t elements, nn_error *e) {
    if (!nn_given(scale, "scale: the scale", e)) return;
    int64_t groups = nn_array_count(&scale->mean);
    const double *mean = scale->mean.data, *deviation = scale->deviation.data;
    if (samples > 0 && !nn_given(data, "scale: the data", e)) return;
    if (groups < 1 || groups != nn_array_count(&scale->deviation) || elements < 1 || elements % groups != 0 ||
        scale->mean.type != NN_F64 || scale->deviation.type != NN_F64) {
        nn_fail(e, AG_ERR_SHAPE, "scale: %" PRId64 " numbers do not form %" PRId64 " groups", elements, groups);
        return;
    }
    if (type != NN_F32 && type != NN_F64) {
        nn_fail(e, AG_ERR_VALUE, "scale: only F32 and F64 can be scaled");
        return;
    }
    int64_t each = elements / groups, at = 0;
    for (int64_t i = 0; i < samples; i++)
        for (int64_t g = 0; g < groups; g++, at += each)
            if (type == NN_F64) scale_doubles((double *)data + at, each, mean[g], deviation[g], scale->fill_missing);
            else scale_floats((float *)data + at, each, mean[g], deviation[g], scale->fill_missing);
}
