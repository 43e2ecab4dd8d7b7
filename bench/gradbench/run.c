/* A run's memory and errors, reading its input and writing its output. */
#include "gradbench.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

struct gb_block {
    gb_block *next;
    ag_runner *runner;     /* or NULL */
    ag_compiled *compiled; /* or NULL; where both are, elements follow */
};

bool gb_fail(gb_run *run, const char *format, ...) {
    if (run->error[0]) return false;
    va_list args;
    va_start(args, format);
    vsnprintf(run->error, sizeof run->error, format, args);
    va_end(args);
    return false;
}

void *gb_array(gb_run *run, int64_t n, size_t size) {
    const size_t header = 64; /* keeps the elements on a cache line */
    gb_block *block = NULL;
    if (n >= 0 && (uint64_t)n < (SIZE_MAX - header) / size) block = calloc(1, header + (size_t)n * size);
    if (!block) {
        gb_fail(run, "out of memory: %lld elements of %zu bytes", (long long)n, size);
        return NULL;
    }
    block->next = run->blocks;
    run->blocks = block;
    return (char *)block + header;
}

void gb_free(gb_run *run) {
    while (run->blocks) {
        gb_block *next = run->blocks->next;
        ag_runner_free(run->blocks->runner);
        ag_compiled_free(run->blocks->compiled);
        free(run->blocks);
        run->blocks = next;
    }
}

ag_runner *gb_runner(gb_run *run, ag_program *program) {
    ag_runner *runner = ag_runner_new(program);
    void *elements = gb_array(run, 0, 1);
    if (ag_program_status(program) != AG_OK) gb_fail(run, "%s", ag_program_message(program));
    ag_program_free(program); /* the runner keeps it */
    if (elements) run->blocks->runner = runner;
    else ag_runner_free(runner);
    return run->error[0] ? NULL : runner;
}

ag_compiled *gb_compiled(gb_run *run, ag_program *program) {
    ag_compiled *compiled = ag_program_compile(program, NULL);
    void *elements = gb_array(run, 0, 1);
    if (ag_program_status(program) != AG_OK) gb_fail(run, "%s", ag_program_message(program));
    ag_program_free(program);
    if (elements) run->blocks->compiled = compiled;
    else ag_compiled_free(compiled);
    return run->error[0] ? NULL : compiled;
}

ag_runner *gb_trace(gb_run *run, ag_model model, void *context, const ag_port *inputs, int n, int wrt) {
    enum { MOST_INPUTS = 16 };
    int by[MOST_INPUTS];
    for (int i = 0; i < wrt && i < MOST_INPUTS; i++) by[i] = i;
    ag_program *value = ag_program_trace(AG_F64, model, context, inputs, n, NULL, 1);
    if (wrt == 0) return gb_runner(run, value);
    ag_runner *runner = gb_runner(run, ag_program_gradient(value, by, wrt));
    ag_program_free(value);
    return runner;
}

void gb_check(gb_run *run, const ag_runner *runner, ag_status status) {
    if (status != AG_OK) ag_fail(run->tape, status, "%s", ag_runner_message(runner));
}

/* ---- input ---- */

static const char *kind_of(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    default: return "null";
    }
}

const json_t *gb_member(gb_run *run, const json_t *object, const char *name) {
    if (!json_is_object(object)) {
        gb_fail(run, "input: expected an object with \"%s\", got %s", name, kind_of(object));
        return NULL;
    }
    const json_t *value = json_object_get(object, name);
    if (!value) gb_fail(run, "input: no \"%s\"", name);
    return value;
}

double gb_number(gb_run *run, const json_t *object, const char *name) {
    const json_t *value = gb_member(run, object, name);
    if (!value) return 0;
    if (!json_is_number(value)) gb_fail(run, "%s: expected a number, got %s", name, kind_of(value));
    return json_number_value(value);
}

int64_t gb_integer(gb_run *run, const json_t *object, const char *name, int64_t least, int64_t most) {
    double value = gb_number(run, object, name);
    if (run->error[0]) return 0;
    if (value == floor(value) && value >= (double)least && value <= (double)most) return (int64_t)value;
    gb_fail(run, "%s: expected an integer from %lld to %lld, got %g", name, (long long)least, (long long)most, value);
    return 0;
}

bool gb_boolean(gb_run *run, const json_t *object, const char *name) {
    const json_t *value = gb_member(run, object, name);
    if (value && !json_is_boolean(value)) gb_fail(run, "%s: expected a boolean, got %s", name, kind_of(value));
    return value && json_is_true(value);
}

/* Where a reader of nested arrays is. */
typedef struct place {
    const char *name;
    int rank, depth;
    int64_t *dim, at[GB_MAX_RANK]; /* at[i]: index in the array of depth i */
} place;

/* "mu[3][1]" */
static const char *show(const place *p, char *text, size_t size) {
    size_t used = (size_t)snprintf(text, size, "%s", p->name);
    for (int i = 0; i < p->depth && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "[%lld]", (long long)p->at[i]);
    return text;
}

/* Lengths of the first of everything stand for all: what is GB_ANY is set. */
static void find_lengths(const json_t *value, place *p) {
    for (int i = 0; i < p->rank; i++) {
        int64_t n = json_is_array(value) ? (int64_t)json_array_size(value) : 0;
        if (p->dim[i] == GB_ANY) p->dim[i] = n;
        value = n > 0 ? json_array_get(value, 0) : NULL;
    }
}

/* Reads `value`, of depth p->depth, to `out`; returns where the next goes, or NULL. */
static double *read_nested(gb_run *run, const json_t *value, place *p, double *out) {
    char text[128];
    if (p->depth == p->rank) {
        if (!json_is_number(value)) {
            gb_fail(run, "%s: expected a number, got %s", show(p, text, sizeof text), kind_of(value));
            return NULL;
        }
        *out = json_number_value(value);
        return out + 1;
    }
    if (!json_is_array(value)) {
        gb_fail(run, "%s: expected an array, got %s", show(p, text, sizeof text), kind_of(value));
        return NULL;
    }
    int64_t n = (int64_t)json_array_size(value), expected = p->dim[p->depth];
    if (n != expected) {
        gb_fail(run, "%s: expected %lld elements, got %lld", show(p, text, sizeof text), (long long)expected,
                (long long)n);
        return NULL;
    }
    int depth = p->depth++;
    for (int64_t i = 0; i < n && out; i++) {
        p->at[depth] = i;
        out = read_nested(run, json_array_get(value, (size_t)i), p, out);
    }
    p->depth = depth;
    return out;
}

double *gb_tensor(gb_run *run, const json_t *object, const char *name, int rank, int64_t *dim) {
    const json_t *value = gb_member(run, object, name);
    if (!value) return NULL;
    place p = {.name = name, .rank = rank, .dim = dim};
    find_lengths(value, &p);
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        if (__builtin_mul_overflow(n, dim[i], &n)) n = INT64_MAX;
    double *out = GB_DOUBLES(run, n);
    return out && read_nested(run, value, &p, out) ? out : NULL;
}

int64_t *gb_indices(gb_run *run, const json_t *object, const char *name, int rank, int64_t *dim, int64_t least,
                    int64_t most) {
    const double *numbers = gb_tensor(run, object, name, rank, dim);
    if (!numbers) return NULL;
    int64_t n = 1;
    for (int i = 0; i < rank; i++) n *= dim[i];
    int64_t *out = GB_INDICES(run, n);
    for (int64_t i = 0; out && i < n; i++) {
        if (!(numbers[i] == floor(numbers[i]) && numbers[i] >= (double)least && numbers[i] <= (double)most)) {
            gb_fail(run, "%s: expected integers from %lld to %lld, got %g (number %lld)", name, (long long)least,
                    (long long)most, numbers[i], (long long)i);
            return NULL;
        }
        out[i] = (int64_t)numbers[i];
    }
    return out;
}

/* ---- output ---- */

json_t *gb_vector(const double *numbers, int64_t n) {
    json_t *array = json_array();
    for (int64_t i = 0; array && i < n; i++) {
        if (json_array_append_new(array, json_real(numbers[i])) == 0) continue;
        json_decref(array);
        array = NULL;
    }
    return array;
}

json_t *gb_matrix(const double *numbers, int64_t rows, int64_t columns) {
    json_t *array = json_array();
    for (int64_t i = 0; array && i < rows; i++) {
        if (json_array_append_new(array, gb_vector(numbers + i * columns, columns)) == 0) continue;
        json_decref(array);
        array = NULL;
    }
    return array;
}
