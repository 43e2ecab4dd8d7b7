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

/* The numbers that tests/torch/reference.py draws for a name. */
static UNUSED_OK double *drawn_numbers(const char *of, const char *name, int64_t count) {
    char full[2 * REFERENCE_NAME];
    uint64_t state = UINT64_C(0xcbf29ce484222325);
    snprintf(full, sizeof full, "%s/%s", of, name);
    for (const char *c = full; *c != '\0'; c++) state = (state ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    double *numbers = new_numbers(count);
    for (int64_t i = 0; i < count; i++) numbers[i] = random_number(&state, -1, 1);
    return numbers;
}

static UNUSED_OK ag_var drawn_tensor(ag_tape *t, const char *of, const char *name, ag_shape shape) {
    double *numbers = drawn_numbers(of, name, shape_count(shape));
    ag_var x = shape.rank == 0 ? ag_input(t, numbers[0]) : ag_tensor(t, numbers, shape);
    free(numbers);
    return x;
}

/* An input of a case: its shape is that of its derivative. */
static UNUSED_OK ag_var reference_input(ag_tape *t, const char *of, const char *name) {
    char full[REFERENCE_NAME];
    snprintf(full, sizeof full, "d/%s", name);
    return drawn_tensor(t, of, name, reference(of, full)->shape);
}

static UNUSED_OK ag_var reference_constant(ag_tape *t, const char *of, const char *name) {
    const reference_array *a = reference(of, name);
    return a->shape.rank == 0 ? ag_constant(t, a->data[0]) : ag_constant_tensor(t, a->data, a->shape);
}

static UNUSED_OK bool same_shape(ag_shape a, ag_shape b) {
    bool same = a.rank == b.rank;
    for (int i = 0; same && i < a.rank; i++) same = a.dim[i] == b.dim[i];
    return same;
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
    if (ag_tape_status(ag_tape_of(out)) != AG_OK) fail_msg("%s: %s", of, ag_tape_message(ag_tape_of(out)));
    if (!same_shape(ag_shape_of(out), a->shape)) fail_msg("%s/%s has another shape", of, name);
    double *got = new_numbers(ag_count(out));
    ag_read(out, got);
    check_reference(ag_tape_type(ag_tape_of(out)), of, name, got, ag_count(out));
    free(got);
}

/* Sweeps from the sum of out times the case's weights; gradients are checked after this. */
static UNUSED_OK void sweep_reference(const char *of, ag_var out) {
    check_out(of, "out", out);
    ag_backward(ag_sum(ag_mul(out, drawn_tensor(ag_tape_of(out), of, "w", ag_shape_of(out)))));
}

static UNUSED_OK void check_gradient(const char *of, const char *name, ag_var x) {
    char full[REFERENCE_NAME];
    double *got = new_numbers(ag_count(x));
    snprintf(full, sizeof full, "d/%s", name);
    ag_read_grad(x, got);
    if (!same_shape(ag_shape_of(x), reference(of, full)->shape)) fail_msg("%s: %s has another shape", of, name);
    check_reference(ag_tape_type(ag_tape_of(x)), of, full, got, ag_count(x));
    free(got);
}

/* Sets all parameters: their names are PyTorch's. */
static UNUSED_OK void load_parameters(const char *of, nn_model *model) {
    for (int i = 0; i < nn_parameter_count(model); i++) {
        ag_var parameter = nn_parameter_at(model, i);
        double *numbers = drawn_numbers(of, nn_parameter_name(model, i), ag_count(parameter));
        ag_set(parameter, numbers);
        free(numbers);
    }
}

static UNUSED_OK void check_parameter_gradients(const char *of, nn_model *model) {
    for (int i = 0; i < nn_parameter_count(model); i++)
        check_gradient(of, nn_parameter_name(model, i), nn_parameter_at(model, i));
}

/* After nn_model_commit. */
static UNUSED_OK void check_buffers(const char *of, nn_model *model) {
    for (int i = 0; i < nn_buffer_count(model); i++) {
        char name[REFERENCE_NAME];
        snprintf(name, sizeof name, "b/%s", nn_buffer_name(model, i));
        check_out(of, name, nn_buffer_at(model, i));
    }
}

#endif
