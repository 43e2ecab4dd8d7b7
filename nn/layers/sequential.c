/* Layers one after the other, and residual blocks. */
#include "nn/layers/parts.h"
#include "nn/memory.h"
#include "nn/model_impl.h"

#include <inttypes.h>

typedef struct item {
    nn_apply apply;
    void *layer;
    struct item *next;
} item;

struct nn_sequential {
    nn_model *model;
    char *name, *next; /* next: what nn_sequential_next returned */
    int count;
    item *first, *last;
};

static void release(void *thing) {
    nn_sequential *net = thing;
    for (item *i = net->first; i != NULL;) {
        item *next = i->next;
        nn_release(i->layer);
        nn_release(i);
        i = next;
    }
    nn_release(net->name);
    nn_release(net->next);
    nn_release(net);
}

static void fail(nn_model *model, const char *name) {
    ag_fail(nn_model_tape(model), AG_ERR_MEMORY, "sequential %.80s: out of memory", name);
}

nn_sequential *nn_sequential_new(nn_model *model, const char *name) {
    char *copy = nn_join_names(model, name, "");
    if (copy == NULL) return NULL;
    nn_sequential *net = nn_allocate(1, sizeof *net);
    if (net == NULL) {
        fail(model, name);
        nn_release(copy);
        return NULL;
    }
    net->model = model;
    net->name = copy;
    return nn_model_keep(model, NULL, net, release);
}

int nn_sequential_count(const nn_sequential *net) { return net == NULL ? 0 : net->count; }

const char *nn_sequential_next(nn_sequential *net) {
    if (net == NULL) return NULL;
    char number[16];
    snprintf(number, sizeof number, ".%d", net->count);
    nn_release(net->next);
    net->next = nn_join_names(net->model, net->name, number);
    return net->next;
}

void nn_sequential_add(nn_sequential *net, nn_apply apply, const void *layer, size_t size) {
    if (net == NULL || ag_tape_status(nn_model_tape(net->model)) != AG_OK) return;
    if (apply == NULL) {
        ag_fail(nn_model_tape(net->model), AG_ERR_VALUE, "sequential %.80s: layer %d has no function", net->name,
                net->count);
        return;
    }
    if (layer == NULL && size > 0) {
        ag_fail(nn_model_tape(net->model), AG_ERR_VALUE, "sequential %.80s: layer %d is NULL", net->name, net->count);
        return;
    }
    item *i = nn_allocate(1, sizeof *i);
    void *copy = nn_allocate(1, size);
    if (i == NULL || copy == NULL) {
        fail(net->model, net->name);
        nn_release(i);
        nn_release(copy);
        return;
    }
    if (size > 0) memcpy(copy, layer, size);
    *i = (item){apply, copy, NULL};
    *(net->first == NULL ? &net->first : &net->last->next) = i;
    net->last = i;
    net->count++;
}

/* ---- layers ------------------------------------------------------------------------------------------------------ */

static ag_var apply_activation(const void *layer, ag_var x) { return nn_activate(*(const nn_activation *)layer, x); }
static ag_var apply_dense(const void *layer, ag_var x) { return nn_dense_apply(*(const nn_dense *)layer, x); }
static ag_var apply_layer_norm(const void *layer, ag_var x) {
    return nn_layer_norm_apply(*(const nn_layer_norm *)layer, x);
}
static ag_var apply_batch_norm(const void *layer, ag_var x) {
    return nn_batch_norm_apply(*(const nn_batch_norm *)layer, x);
}
static ag_var apply_conv(const void *layer, ag_var x) { return nn_conv_apply(*(const nn_conv *)layer, x); }
static ag_var apply_max_pool2d(const void *layer, ag_var x) {
    return ag_max_pool2d(x, *(const ag_pool_options *)layer);
}
static ag_var apply_avg_pool2d(const void *layer, ag_var x) {
    return ag_avg_pool2d(x, *(const ag_pool_options *)layer);
}
static ag_var apply_dropout(const void *layer, ag_var x) { return nn_dropout_apply(*(const nn_dropout *)layer, x); }
static ag_var apply_flatten(const void *layer, ag_var x) {
    (void)layer;
    return ag_reshape(x, AG_SHAPE(ag_shape_of(x).dim[0], -1));
}

/* The greatest of relus is the relu of the greatest, to the bit and in every derivative (what is not greater than 0 has
 * none), unless a window may lie in padding: then the relu has less to do after the pooling. */
static bool is_pooled_relu(const item *i) {
    if (i->next == NULL || i->apply != apply_activation || i->next->apply != apply_max_pool2d) return false;
    const ag_pool_options *pool = i->next->layer;
    return *(const nn_activation *)i->layer == NN_RELU && pool->padding[0] == 0 && pool->padding[1] == 0;
}

static bool is_activated_dense(const item *i) {
    return i->next != NULL && i->apply == apply_dense && i->next->apply == apply_activation;
}

ag_var nn_sequential_apply(const nn_sequential *net, ag_var x) {
    if (net == NULL) return nn_inert(x);
    for (const item *i = net->first; i != NULL; i = i->next) {
        if (is_activated_dense(i)) {
            x = nn_dense_activated(*(const nn_dense *)i->layer, x, *(const nn_activation *)i->next->layer);
            i = i->next;
            continue;
        }
        bool swapped = is_pooled_relu(i);
        if (swapped) x = i->next->apply(i->next->layer, x);
        x = i->apply(i->layer, x);
        if (swapped) i = i->next;
    }
    return x;
}

static ag_var apply_residual(const void *layer, ag_var x) {
    return ag_add(x, nn_sequential_apply(*(const nn_sequential *const *)layer, x));
}

void nn_sequential_activation(nn_sequential *net, nn_activation activation) {
    nn_sequential_add(net, apply_activation, &activation, sizeof activation);
}

void nn_sequential_dense(nn_sequential *net, int64_t inputs, int64_t outputs, nn_dense_options options) {
    if (net == NULL) return;
    nn_dense layer = nn_dense_init(net->model, nn_sequential_next(net), inputs, outputs, options);
    nn_sequential_add(net, apply_dense, &layer, sizeof layer);
}

void nn_sequential_layer_norm(nn_sequential *net, int64_t width, nn_norm_options options) {
    if (net == NULL) return;
    nn_layer_norm layer = nn_layer_norm_init(net->model, nn_sequential_next(net), width, options);
    nn_sequential_add(net, apply_layer_norm, &layer, sizeof layer);
}

void nn_sequential_batch_norm(nn_sequential *net, int64_t channels, nn_batch_norm_options options) {
    if (net == NULL) return;
    nn_batch_norm layer = nn_batch_norm_init(net->model, nn_sequential_next(net), channels, options);
    nn_sequential_add(net, apply_batch_norm, &layer, sizeof layer);
}

void nn_sequential_conv(nn_sequential *net, nn_conv_kind kind, int64_t channels, int64_t filters, int64_t rows,
                        int64_t columns, nn_conv_options options) {
    if (net == NULL) return;
    nn_conv layer = nn_conv_init(net->model, kind, nn_sequential_next(net), channels, filters, rows, columns, options);
    nn_sequential_add(net, apply_conv, &layer, sizeof layer);
}

/* What no images can be pooled with; the rest is known when there are some. */
static bool check_pool(nn_sequential *net, const ag_pool_options *o) {
    if (net == NULL || ag_tape_status(nn_model_tape(net->model)) != AG_OK) return false;
    for (int i = 0; i < 2; i++) {
        const struct {
            const char *what;
            int64_t value, least;
        } all[] = {{"kernel", o->kernel[i], 1},
                   {"stride", o->stride[i], 0},
                   {"padding", o->padding[i], 0},
                   {"dilation", o->dilation[i], 0}};
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
            if (all[k].value >= all[k].least) continue;
            ag_fail(nn_model_tape(net->model), AG_ERR_VALUE, "sequential %.80s: layer %d: the %s %d is %" PRId64,
                    net->name, net->count, all[k].what, i, all[k].value);
            return false;
        }
    }
    return true;
}

void nn_sequential_max_pool2d(nn_sequential *net, ag_pool_options options) {
    if (!check_pool(net, &options)) return;
    nn_sequential_add(net, apply_max_pool2d, &options, sizeof options);
}

void nn_sequential_avg_pool2d(nn_sequential *net, ag_pool_options options) {
    if (check_pool(net, &options)) nn_sequential_add(net, apply_avg_pool2d, &options, sizeof options);
}

void nn_sequential_dropout(nn_sequential *net, double probability) {
    if (net == NULL) return;
    nn_dropout layer = nn_dropout_init(net->model, nn_sequential_next(net), probability);
    nn_sequential_add(net, apply_dropout, &layer, sizeof layer);
}

void nn_sequential_flatten(nn_sequential *net) { nn_sequential_add(net, apply_flatten, NULL, 0); }

void nn_sequential_residual(nn_sequential *net, const nn_sequential *part) {
    if (net == NULL || part == NULL) return;
    if (part == net) {
        ag_fail(nn_model_tape(net->model), AG_ERR_VALUE, "sequential %.80s: a residual block of itself", net->name);
        return;
    }
    nn_sequential_add(net, apply_residual, &part, sizeof part);
}
