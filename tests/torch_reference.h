/* Reference numbers of tests/torch: made by PyTorch, by scripts that are beside them. */
#ifndef TORCH_REFERENCE_H
#define TORCH_REFERENCE_H

#include "on_each_tape.h"

#include "nn/nn.h"

#ifndef TORCH_FOLDER
#define TORCH_FOLDER "tests/torch"
#endif

enum { REFERENCE_ARRAYS = 1024, REFERENCE_NAME = 96 };

typedef struct reference_array {
    char name[REFERENCE_NAME];
    ag_shape shape;
    int64_t count;
    double *data;
} reference_array;

static int reference_count;
static reference_array references[REFERENCE_ARRAYS];

static UNUSED_OK bool read_reference(FILE *in, reference_array *a) {
    if (fscanf(in, "%95s %d", a->name, &a->shape.rank) != 2) return false;
    assert_in_range(a->shape.rank, 0, AG_MAX_RANK);
    a->count = 1;
    for (int i = 0; i < a->shape.rank; i++) {
        long long dim = 0;
        assert_int_equal(fscanf(in, "%lld", &dim), 1);
        assert_in_range(dim, 1, 1 << 20);
        a->count *= a->shape.dim[i] = dim;
    }
    assert_int_equal(fgetc(in), '\n');
    a->data = new_numbers(a->count);
    assert_int_equal(fread(a->data, sizeof(double), (size_t)a->count, in), a->count);
    return true;
}

static UNUSED_OK void read_references(const char *file) {
    FILE *in = fopen(file, "rb");
    if (in == NULL) fail_msg("%s cannot be read", file);
    while (reference_count < REFERENCE_ARRAYS && read_reference(in, &references[reference_count])) reference_count++;
    fclose(in);
    assert_in_range(reference_count, 1, REFERENCE_ARRAYS - 1);
}

static UNUSED_OK void free_references(void) {
    while (reference_count > 0) free(references[--reference_count].data);
}

/* Array `name` of a case, or NULL. */
static UNUSED_OK const reference_array *find_reference(const char *of, const char *name) {
    char full[2 * REFERENCE_NAME];
    snprintf(full, sizeof full, "%s/%s", of, name);
    for (int i = 0; i < reference_count; i++)
        if (strcmp(references[i].name, full) == 0) return &references[i];
    return NULL;
}

static UNUSED_OK const reference_array *reference(const char *of, const char *name) {
    const reference_array *a = find_reference(of, name);
    if (a == NULL) fail_msg("there is no reference %s/%s", of, name);
    return a;
}

static UNUSED_OK ag_var reference_input(ag_tape *t, const char *of, const char *name) {
    const reference_array *a = reference(of, name);
    return a->shape.rank == 0 ? ag_input(t, a->data[0]) : ag_tensor(t, a->data, a->shape);
}

static UNUSED_OK ag_var reference_constant(ag_tape *t, const char *of, const char *name) {
    const reference_array *a = reference(of, name);
    return a->shape.rank == 0 ? ag_constant(t, a->data[0]) : ag_constant_tensor(t, a->data, a->shape);
}

/* 1e-10 of the greatest number of the array in double precision, 1e-5 in single. */
static UNUSED_OK void check_reference(ag_type type, const char *of, const char *name, const double *got,
                                      int64_t count) {
    const reference_array *a = reference(of, name);
    double most = 0;
    if (count != a->count) fail_msg("%s/%s: %lld numbers, not %lld", of, name, (long long)count, (long long)a->count);
    for (int64_t i = 0; i < count; i++) most = fmax(most, fabs(a->data[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(got[i] - a->data[i]) <= (type == AG_F64 ? 1e-10 : 1e-5) * most))
            fail_msg("%s/%s: number %lld is %.17g, PyTorch's is %.17g", of, name, (long long)i, got[i], a->data[i]);
}

static UNUSED_OK void check_out(const char *of, const char *name, ag_var out) {
    const reference_array *a = reference(of, name);
    if (ag_tape_status(out.tape) != AG_OK) fail_msg("%s: %s", of, ag_tape_message(out.tape));
    ag_shape shape = ag_shape_of(out);
    assert_int_equal(shape.rank, a->shape.rank);
    for (int i = 0; i < shape.rank; i++) assert_int_equal(shape.dim[i], a->shape.dim[i]);
    double *got = new_numbers(ag_count(out));
    ag_read(out, got);
    check_reference(ag_tape_type(out.tape), of, name, got, ag_count(out));
    free(got);
}

/* Sweeps from the sum of out times the case's weights; gradients are checked after this. */
static UNUSED_OK void sweep_reference(const char *of, ag_var out) {
    check_out(of, "out", out);
    ag_backward(ag_sum(ag_mul(out, reference_constant(out.tape, of, "w"))));
}

static UNUSED_OK void check_gradient(const char *of, const char *name, ag_var x) {
    char full[REFERENCE_NAME];
    double *got = new_numbers(ag_count(x));
    snprintf(full, sizeof full, "d/%s", name);
    ag_read_grad(x, got);
    check_reference(ag_tape_type(x.tape), of, full, got, ag_count(x));
    free(got);
}

/* Sets all parameters and buffers of a model: their names are PyTorch's. */
static UNUSED_OK void load_parameters(const char *of, nn_model *model) {
    for (int i = 0; i < nn_parameter_count(model) + nn_buffer_count(model); i++) {
        bool buffer = i >= nn_parameter_count(model);
        int k = buffer ? i - nn_parameter_count(model) : i;
        const char *name = buffer ? nn_buffer_name(model, k) : nn_parameter_name(model, k);
        const reference_array *a = reference(of, name);
        ag_var var = buffer ? nn_buffer_at(model, k) : nn_parameter_at(model, k);
        ag_shape shape = ag_shape_of(var);
        bool same = shape.rank == a->shape.rank;
        for (int d = 0; same && d < shape.rank; d++) same = shape.dim[d] == a->shape.dim[d];
        if (!same) fail_msg("%s/%s has another shape", of, name);
        ag_set(var, a->data);
    }
}

static UNUSED_OK void check_parameter_gradients(const char *of, nn_model *model) {
    for (int i = 0; i < nn_parameter_count(model); i++)
        check_gradient(of, nn_parameter_name(model, i), nn_parameter_at(model, i));
}

#endif
