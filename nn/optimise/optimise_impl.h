/* What an optimiser is, and the rows of numbers of a model that a step goes through. */
#ifndef NN_OPTIMISE_IMPL_H
#define NN_OPTIMISE_IMPL_H

#include "kernels_impl.h"
#include "settings_impl.h"

/* ---- rows: parameters with their gradients ---- */

typedef struct nn_row {
    int parameter; /* of the model */
    int64_t count;
    void *x, *gradient; /* in the tape's type */
} nn_row;

/* The parameters that the last sweep reached into rows, of which there is one for each parameter; their number, or -1
 * after an error, whose message begins with `what`. With `gradients`, those that are not NULL. */
int nn_rows_find(nn_model *model, const char *what, void *const *gradients, nn_row *rows);
/* Whether parameter i is still on the tape; if not, an error. */
bool nn_parameter_is_there(nn_model *model, const char *what, int i);
/* The Euclidean norm of all gradients; not finite if one of them is not. The same for any number of threads. */
double nn_rows_norm(const nn_row *rows, int count, ag_type type);
/* Whether all gradients are finite; an error names the first that is not. */
bool nn_rows_finite(nn_model *model, const char *what, const nn_row *rows, int count);
/* What gradients of this norm are multiplied by to have at most another. */
double nn_clip_factor(double norm, double most);

/* work(context, row, start, n) for parts that are all of the rows together: of several threads if that is worth while.
 * Parts start at multiples of NN_BLOCK numbers of their row. */
enum { NN_BLOCK = 1 << 14 };
typedef void nn_row_work(void *context, const nn_row *row, int64_t start, int64_t n);
void nn_rows_parallel(const nn_row *rows, int count, nn_row_work *work, void *context);

static inline size_t nn_size_of(ag_type type) { return type == AG_F64 ? sizeof(double) : sizeof(float); }
static inline void *nn_at(ag_type type, void *data, int64_t i) { return (char *)data + (size_t)i * nn_size_of(type); }

/* ---- state: zeroed arrays in the shape of each parameter ---- */

enum { NN_MOST_ARRAYS = 3 };

typedef struct nn_moments {
    nn_model *model;
    int parameters, each;              /* each parameter has so many */
    const char *names[NN_MOST_ARRAYS]; /* PyTorch's */
    void *memory;
    void **place; /* [parameter * each + k] */
    char *name;   /* of what was asked for last */
    size_t name_size;
} nn_moments;

/* Of the parameters that there are now, as many as there are names; false, without an error, if memory is out. */
bool nn_moments_new(nn_moments *arrays, nn_model *model, const char *const names[NN_MOST_ARRAYS]);
void nn_moments_free(nn_moments *arrays);
static inline int nn_moments_count(const nn_moments *arrays) { return arrays->parameters * arrays->each; }
void nn_moments_state(nn_moments *arrays, int i, nn_state *state); /* i < nn_moments_count */
/* Whether the model still has the parameters that there were; if not, an error. */
bool nn_moments_fit(const nn_moments *arrays, const char *what);

/* A row of numbers in f64. */
nn_state nn_state_of_numbers(const char *name, double *numbers, int64_t count);

/* ---- optimisers ---- */

/* How a kind of optimiser differs from the others. */
typedef struct nn_method {
    const char *name;
    nn_update_kind kind;
    const char *states[NN_MOST_ARRAYS]; /* their names; as many as the update has */
    bool decoupled;
    /* Its numbers of an update, from the rate and how many steps were taken with this one. */
    void (*prepare)(const nn_optimiser *optimiser, double rate, double step, nn_update *update);
} nn_method;

typedef struct nn_group {
    double factor, decay;
} nn_group;

struct nn_optimiser {
    nn_model *model;
    nn_method method;
    double beta1, beta2, epsilon, momentum, dampening, rate_decay; /* of methods that have them */
    double decay, scale, most_norm, norm;
    double now[2]; /* steps taken, the rate */
    nn_schedule schedule;
    nn_moments arrays;
    nn_group *groups;   /* of each parameter */
    double *steps;      /* that each parameter took part in */
    nn_row *rows;       /* of a step */
    nn_update *updates; /* of each parameter */
};

/* An optimiser with the method and the numbers of `like`; NULL after an error. */
nn_optimiser *nn_optimiser_new(nn_model *model, const nn_optimiser *like);

/* One number of the options: what 0 stands for, and what it may be: least <= value < less_than. */
typedef struct nn_option {
    const char *name;
    double *value;
    double otherwise, least, less_than;
} nn_option;
/* Puts the defaults in place. An error names what is not as it may be. */
bool nn_options_settle(nn_model *model, const char *what, const nn_option *options, int count);

/* What is wrong with a schedule; NULL if nothing is. */
const char *nn_schedule_fault(nn_schedule schedule);

#endif
