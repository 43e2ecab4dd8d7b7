/* gradbench-autograd: a tool for GradBench's protocol (github.com/gradbench/gradbench, CONTRIBUTING.md, "Protocol").
 *
 * One source file an eval. A function of an eval is a row of a table, four steps:
 *
 *     parse     the input's numbers into the function's state; checks shapes
 *     prepare   (optional) what depends on shapes and indices but not on the input's values: tracing, differentiating and
 *               planning a program; timed as "prepare"
 *     evaluate  from the values in the state to the result in the state; timed as "evaluate", run repeatedly
 *     print     the result as JSON
 *
 * The state is state_size zeroed bytes; the rest of a run's memory comes from gb_array and lives as long as the run. */
#ifndef GRADBENCH_H
#define GRADBENCH_H

#include <autograd/autograd.h>

#include <jansson.h>

enum { GB_MAX_RANK = 3, GB_ANY = -1 };

typedef struct gb_block gb_block; /* memory of a run */

/* One "evaluate" message. */
typedef struct gb_run {
    ag_tape *tape;   /* empty at the start of each evaluation */
    void *state;     /* the function's */
    char error[512]; /* a sentence once something failed, "" before */
    gb_block *blocks;
} gb_run;

typedef struct gb_function {
    const char *module, *name;
    size_t state_size;
    bool (*parse)(gb_run *run, const json_t *input);
    bool (*prepare)(gb_run *run);
    void (*evaluate)(gb_run *run); /* errors stick to the tape */
    json_t *(*print)(gb_run *run); /* NULL: a number is not finite, or out of memory */
} gb_function;

/* The functions of each eval; ends with a row whose module is NULL. */
extern const gb_function gb_hello[], gb_det[], gb_llsq[], gb_lse[], gb_ode[], gb_gmm[], gb_ba[], gb_ht[], gb_lstm[],
    gb_kmeans[], gb_particle[], gb_saddle[];

/* ---- a run ---- */

/* Sets the error, unless there is one; returns false. */
bool gb_fail(gb_run *run, const char *format, ...) AG_FORMAT_(2, 3);
/* n zeroed elements, freed with the run; NULL and an error where memory is short. */
void *gb_array(gb_run *run, int64_t n, size_t size);
void gb_free(gb_run *run);
/* A runner of a program, which is freed with the run; takes the program. NULL and an error if the program has one. */
ag_runner *gb_runner(gb_run *run, ag_program *program);
/* The same of a program that runs very often on very little: as machine code, where there is a compiler. */
ag_compiled *gb_compiled(gb_run *run, ag_program *program);
/* A runner of a traced model with one output y; if `wrt` > 0, the outputs are y and its derivatives by the first `wrt` of
 * the n inputs. */
ag_runner *gb_trace(gb_run *run, ag_model model, void *context, const ag_port *inputs, int n, int wrt);
/* A run of it that failed is an error of the tape's. */
void gb_check(gb_run *run, const ag_runner *runner, ag_status status);
#define GB_DOUBLES(run, n) ((double *)gb_array(run, n, sizeof(double)))
#define GB_INDICES(run, n) ((int64_t *)gb_array(run, n, sizeof(int64_t)))

/* ---- reading input: each sets an error that names the place and returns 0 or NULL if the input is not as expected ---- */

const json_t *gb_member(gb_run *run, const json_t *object, const char *name);
double gb_number(gb_run *run, const json_t *object, const char *name);
int64_t gb_integer(gb_run *run, const json_t *object, const char *name, int64_t least, int64_t most);
bool gb_boolean(gb_run *run, const json_t *object, const char *name);
/* Nested arrays of numbers, row-major. dim[i] is the length expected, or GB_ANY, which is replaced by the length found. */
double *gb_tensor(gb_run *run, const json_t *object, const char *name, int rank, int64_t *dim);
/* The same of integers in least..most. */
int64_t *gb_indices(gb_run *run, const json_t *object, const char *name, int rank, int64_t *dim, int64_t least,
                    int64_t most);

/* ---- writing output ---- */

json_t *gb_vector(const double *numbers, int64_t n);
json_t *gb_matrix(const double *numbers, int64_t rows, int64_t columns);

/* ---- gradient descent, of particle and saddle (descent.c) ---- */

enum { GB_MAX_UNKNOWNS = 2 };

/* d y / d x, recorded: in reverse, or forward, one direction an unknown. */
typedef void gb_mode(ag_var y, const ag_var *x, int n, ag_var *out);
gb_mode gb_reverse, gb_forward;

/* What is descended on. */
typedef struct gb_surface {
    void *context;
    double (*value)(void *context, const double *x);
    void (*slope)(void *context, const double *x, double *out);
    void (*moved)(void *context, const double *x, double step); /* or NULL: x is left for x + step * slope */
    int n;
    double sign; /* 1 to descend, -1 to ascend */
} gb_surface;

/* Moves x to where it ends. */
void gb_descend(const gb_surface *surface, double *x);

#endif
