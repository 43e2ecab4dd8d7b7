/* Means and standard deviations, and numbers scaled by them. */
#include "nn/data/data_impl.h"

#include <inttypes.h>
#include <math.h>

static int64_t groups_of(const struct nn_field *f, nn_grouping grouping) {
    if (grouping == NN_PER_ELEMENT) return nn_elements(f->shape, 1);
    return grouping == NN_PER_CHANNEL && f->shape.rank > 0 ? f->shape.dim[0] : 1;
}

/* Adds up each group: without means its numbers and how many there are, else the squares of their distances from the mean. */
static void add_up(const nn_dataset *set, int field, int64_t groups, const double *mean, double *count, double *sum,
                   nn_error *e) {
    const struct nn_field *f = &set->fields[field];
    int64_t elements = nn_elements(f->shape, 1), each = elements / groups;
    for (int64_t i = 0; i < set->count; i++) {
        const char *at = f->data + nn_row(set, i) * f->stride;
        for (int64_t k = 0; k < elements; k++) {
            double x = nn_load_number(f->type, at + (size_t)k * nn_type_size(f->type));
            int64_t g = k / each;
            if (isnan(x)) continue;
            if (isinf(x)) {
                nn_fail(e, AG_ERR_VALUE, "scale: element %" PRId64 " of row %" PRId64 " is infinite", k,
                        nn_row(set, i));
                return;
            }
            if (mean == NULL) count[g]++;
            sum[g] += mean == NULL ? x : (x - mean[g]) * (x - mean[g]);
        }
    }
}

static void fit(const nn_dataset *set, int field, int64_t groups, nn_scale *scale, nn_error *e) {
    double *count = nn_take((size_t)groups, sizeof *count, "scale", e);
    double *mean = scale->mean.data, *deviation = scale->deviation.data;
    if (nn_ok(e)) add_up(set, field, groups, NULL, count, mean, e);
    for (int64_t g = 0; nn_ok(e) && g < groups; g++) mean[g] /= fmax(1, count[g]);
    if (nn_ok(e)) add_up(set, field, groups, mean, count, deviation, e);
    for (int64_t g = 0; nn_ok(e) && g < groups; g++) {
        deviation[g] = sqrt(deviation[g] / fmax(1, count[g]));
        if (!(deviation[g] > 0)) deviation[g] = 1;
        if (!isfinite(mean[g]) || !isfinite(deviation[g]))
            nn_fail(e, AG_ERR_VALUE, "scale: the numbers of group %" PRId64 " are too large to be added up", g);
    }
    nn_release(count);
}

nn_scale nn_scale_fit(const nn_dataset *set, int field, nn_grouping grouping, nn_error *e) {
    nn_scale scale = {0};
    if (!nn_ok(e)) return scale;
    if (set->count < 1 || field < 0 || field >= set->field_count) {
        nn_fail(e, AG_ERR_VALUE, "scale: %" PRId64 " samples, field %d of %d", set->count, field, set->field_count);
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

static double scaled(double x, double mean, double deviation, bool fill) {
    return fill && isnan(x) ? 0 : (x - mean) / deviation;
}

void nn_scale_apply(const nn_scale *scale, nn_type type, void *data, int64_t samples, int64_t elements, nn_error *e) {
    int64_t groups = nn_array_count(&scale->mean);
    const double *mean = scale->mean.data, *deviation = scale->deviation.data;
    if (!nn_ok(e)) return;
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
        for (int64_t g = 0; g < groups; g++)
            for (int64_t k = 0; k < each; k++, at++)
                if (type == NN_F64) {
                    double *x = (double *)data + at;
                    *x = scaled(*x, mean[g], deviation[g], scale->fill_missing);
                } else {
                    float *x = (float *)data + at;
                    *x = (float)scaled((double)*x, mean[g], deviation[g], scale->fill_missing);
                }
}
