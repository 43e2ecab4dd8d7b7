/* Convolution and its two derivatives, as products of panels (convolve_impl.h). By x and by y: correlations of planes
 * with weights; with a stride, those by x fall apart into phases, results that meet the same taps. By w: products of planes
 * and transposed images. Threads share images out; sums over images are made of parts that depend on sizes only. */

#include "convolution_impl.h"

enum { PANEL_DEPTH = 192, MOST_PARTS = 8, CHUNK_RESULTS = 256, FEW_TAPS = 27 };
enum { MOST_PART_BYTES = 4 << 20, LEAST_WORK = 1 << 18 }; /* of parts' sums in all; multiplications worth a thread */

/* Results of which each meets the same taps, those of the target at start, start + skip, ... */
typedef struct phase {
    int64_t grid[2], start[2], taps;
    int64_t *offset; /* of the taps in a plane */
    char *weights;   /* packed: for each group and block of rows, taps * channels rows of panel_rows numbers */
} phase;

typedef struct correlation {
    const ag_kernels *kernels;
    ag_type type;
    int64_t images, groups, rows; /* rows: channels of the result in a group */
    int64_t target[2], skip[2];
    ag_layout layout;
    int64_t row_step, deepest; /* row_step: from a row of results to the next one, in a plane */
    int64_t phases;
    phase *phase;
    const void *source, *bias;
    void *to, *start; /* start: bias, filled up to whole blocks, of each group */
    bool store;
    int threads;
    char *space; /* of each thread, `each` bytes: planes, a panel, a tile */
    int64_t each;
} correlation;

static int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }
static int64_t plane_of(const ag_layout *l) { return l->rows * l->split * l->width; }

int64_t ag_convolution_count(const ag_convolution *c, int role) {
    const int64_t *area = role == CONV_X ? c->size : role == CONV_W ? c->kernel : c->out;
    int64_t first = role == CONV_W ? c->filters : c->images, second = role == CONV_Y ? c->filters : c->channels;
    return c->groups * first * second * area[0] * area[1];
}

static int threads_for(const ag_convolution *c, int64_t tasks) {
    double work = (double)ag_convolution_count(c, CONV_Y) * (double)(c->channels * c->kernel[0] * c->kernel[1]);
    int most = work < LEAST_WORK ? 1 : ag_threads();
    return tasks < most ? (int)tasks : most;
}

/* Where vectors do not cross lines of the cache. */
static char *aligned(char *space) { return (char *)(((uintptr_t)space + 63) / 64 * 64); }

static void *scratch(const ag_call *call, int64_t count, int64_t size) {
    int64_t bytes;
    if (!ag_multiply_sizes(count, size, &bytes)) bytes = INT64_MAX;
    return ag_scratch(call->tape, (size_t)bytes + 1);
}

/* ---- layouts and taps ---- */

/* Where taps of x lie for results y, row by row: also what the gradient of the weights needs. */
static ag_layout layout_of_x(const ag_convolution *c) {
    int64_t reach[2] = {(c->kernel[0] - 1) * c->dilation[0], (c->kernel[1] - 1) * c->dilation[1]};
    return (ag_layout){.channels = c->channels,
                       .size = {c->size[0], c->size[1]},
                       .before = {c->padding[0], c->padding[1]},
                       .rows = (c->out[0] - 1) * c->stride[0] + reach[0] + 1,
                       .split = c->stride[1],
                       .width = c->out[1] + reach[1] / c->stride[1]};
}

static int64_t offset_in_x(const ag_convolution *c, const ag_layout *l, int64_t i, int64_t j) {
    int64_t column = j * c->dilation[1];
    return (i * c->dilation[0] * l->split + column % l->split) * l->width + column / l->split;
}

/* Whether results by x at p0, p0 + stride, ... meet tap t along an axis, and then in what element of y after the first. */
static bool meets(const ag_convolution *c, int axis, int64_t p0, int64_t t, int64_t *shift) {
    int64_t at = p0 + c->padding[axis] - t * c->dilation[axis];
    *shift = at / c->stride[axis];
    return at % c->stride[axis] == 0;
}

static int64_t phases_along(const ag_convolution *c, int axis) {
    return c->stride[axis] < c->size[axis] ? c->stride[axis] : c->size[axis];
}
static int64_t grid_of(const ag_convolution *c, int axis, int64_t p0) {
    return (c->size[axis] - p0 + c->stride[axis] - 1) / c->stride[axis];
}

static ag_layout layout_of_y(const ag_convolution *c) {
    ag_layout l = {.channels = c->filters, .size = {c->out[0], c->out[1]}, .split = 1};
    int64_t length[2];
    for (int a = 0; a < 2; a++) {
        int64_t least = 0, most = 0, shift;
        for (int64_t p0 = 0; p0 < phases_along(c, a); p0++)
            for (int64_t t = 0; t < c->kernel[a]; t++) {
                if (!meets(c, a, p0, t, &shift)) continue;
                if (shift < least) least = shift;
                if (shift + grid_of(c, a, p0) > most) most = shift + grid_of(c, a, p0);
            }
        l.before[a] = -least;
        length[a] = most - least;
    }
    l.rows = length[0];
    l.width = length[1];
    return l;
}

/* ---- packing weights ---- */

/* Element (row, channel, tap) of a group's weights is at row * row_step + channel * channel_step + number[tap]. */
typedef struct weight_steps {
    int64_t row, channel, group;
} weight_steps;

static weight_steps steps_of(const ag_convolution *c, int role) {
    int64_t taps = c->kernel[0] * c->kernel[1], filter = c->channels * taps;
    return role == CONV_Y ? (weight_steps){filter, taps, c->filters * filter}
                          : (weight_steps){taps, filter, c->filters * filter};
}

static void pack_weights(const correlation *r, const phase *p, weight_steps s, const int64_t *number, const void *w) {
    int64_t unit = r->kernels->panel_rows, at = 0;
    for (int64_t g = 0; g < r->groups; g++)
        for (int64_t first = 0; first < r->rows; first += unit)
            for (int64_t channel = 0; channel < r->layout.channels; channel++)
                for (int64_t t = 0; t < p->taps; t++)
                    for (int64_t i = first; i < first + unit; i++, at++) {
                        int64_t from = g * s.group + i * s.row + channel * s.channel + number[t];
                        ag_store(r->type, p->weights, at, i < r->rows ? ag_load(r->type, w, from) : 0);
                    }
}

/* ---- correlation ---- */

/* The runs of `count` results from `first` on, in rows of the grid; the last one fills the panel up. */
static void set_runs(const correlation *r, const phase *p, int64_t first, int64_t count, ag_panel *panel) {
    int64_t y = first / p->grid[1], x = first % p->grid[1], lanes = r->kernels->lanes;
    panel->vectors = (count + lanes - 1) / lanes;
    panel->runs = 0;
    for (int64_t done = 0; done < count; y++, x = 0) {
        int64_t length = p->grid[1] - x < count - done ? p->grid[1] - x : count - done;
        panel->run[panel->runs++] = (ag_run_of_columns){y * r->row_step + x, length};
        done += length;
        if (done == count) panel->run[panel->runs - 1].length += panel->vectors * lanes - count;
    }
}

/* Adds or copies a tile to where the results lie apart from each other. */
static void scatter_tile(const correlation *r, const phase *p, int64_t first, int64_t count, const ag_panel_tile *tile,
                         void *planes) {
    int64_t area = r->target[0] * r->target[1], done = 0;
    while (done < count) {
        int64_t y = (first + done) / p->grid[1], x = (first + done) % p->grid[1];
        int64_t length = p->grid[1] - x < count - done ? p->grid[1] - x : count - done;
        int64_t at = (p->start[0] + y * r->skip[0]) * r->target[1] + p->start[1] + x * r->skip[1];
        const int64_t dim[2] = {tile->rows, length}, to[2] = {area, r->skip[1]}, from[2] = {tile->stride, 1};
        void *target = ag_element(r->type, planes, at), *source = ag_element(r->type, tile->data, done);
        if (r->store) ag_strided_copy(r->type, 2, dim, target, to, source, from);
        else ag_strided_add(r->type, 2, dim, target, to, source, from);
        done += length;
    }
}

/* The results of one panel for all channels of a group, whose first plane is `to`. */
static void run_panel(const correlation *r, const phase *p, int64_t group, int64_t first, int64_t count,
                      ag_panel *panel, const void *planes, char *space, void *to) {
    const ag_kernels *kernels = r->kernels;
    size_t size = ag_type_size(r->type);
    int64_t unit = kernels->panel_rows, depth = p->taps * r->layout.channels, area = r->target[0] * r->target[1];
    int64_t blocks = depth ? (depth + PANEL_DEPTH - 1) / PANEL_DEPTH : 1, height = (depth + blocks - 1) / blocks;
    int64_t row_blocks = (r->rows + unit - 1) / unit;
    bool direct = r->skip[0] == 1 && r->skip[1] == 1;
    char *packed = space, *result = space + (size_t)(PANEL_DEPTH * MOST_PANEL_COLUMNS + PANEL_SLACK) * size;
    set_runs(r, p, first, count, panel);
    panel->taps = p->taps;
    panel->tap = p->offset;
    for (int64_t k = 0; k < blocks; k++) {
        panel->first = k * height;
        panel->end = depth - k * height < height ? depth : (k + 1) * height;
        if (depth) kernels->pack_panel(panel, packed, planes);
        for (int64_t b = 0; b < row_blocks; b++) {
            int64_t rows = r->rows - b * unit < unit ? r->rows - b * unit : unit, row = group * row_blocks + b;
            ag_panel_tile tile = {.stride = direct ? area : MOST_PANEL_COLUMNS, .rows = rows, .columns = count};
            tile.data = direct ? (char *)to + (size_t)(b * unit * area + first) * size
                               : result + (size_t)(b * unit * MOST_PANEL_COLUMNS) * size;
            tile.start = k == 0 && r->bias ? (char *)r->start + (size_t)(row * unit) * size : NULL;
            tile.add = k > 0 || (direct && !r->store);
            kernels->panel(panel->vectors, panel->end - panel->first,
                           p->weights + (size_t)((row * depth + panel->first) * unit) * size, packed, &tile);
        }
    }
    if (direct) return;
    ag_panel_tile all = {.data = result, .stride = MOST_PANEL_COLUMNS, .rows = r->rows};
    scatter_tile(r, p, first, count, &all, to);
}

/* Whether rows of results fill vectors so well that packing them together costs more than it saves: it takes about as long
 * for a run as a block of rows for one vector and a half. */
static bool is_direct(const correlation *r, const phase *p) {
    if (r->skip[0] != 1 || r->skip[1] != 1) return false;
    int64_t lanes = r->kernels->lanes, unit = r->kernels->panel_rows, area = p->grid[0] * p->grid[1];
    int64_t blocks = (r->rows + unit - 1) / unit, direct = p->grid[0] * ((p->grid[1] + lanes - 1) / lanes) * blocks;
    int64_t packed = (area + lanes - 1) / lanes * blocks, runs = p->grid[0] + area / (lanes * PANEL_VECTORS);
    return 2 * direct <= 2 * packed + 3 * runs;
}

/* All results of a group's image, vectors of each row by themselves. */
static void run_rows(const correlation *r, const phase *p, int64_t group, const void *planes, char *to) {
    size_t size = ag_type_size(r->type);
    int64_t unit = r->kernels->panel_rows, lanes = r->kernels->lanes, depth = p->taps * r->layout.channels;
    int64_t area = r->target[0] * r->target[1], row_blocks = (r->rows + unit - 1) / unit;
    ag_panel_vectors v = {r->layout.channels, p->taps, plane_of(&r->layout), p->offset, {0}, {0}, {0}};
    for (int64_t b = 0; b < row_blocks; b++) {
        int64_t row = group * row_blocks + b, vectors = 0;
        ag_panel_tile tile = {.data = to + (size_t)(b * unit * area) * size, .stride = area, .add = !r->store};
        tile.rows = r->rows - b * unit < unit ? r->rows - b * unit : unit;
        tile.start = r->bias ? (char *)r->start + (size_t)(row * unit) * size : NULL;
        for (int64_t y = 0; y < p->grid[0]; y++)
            for (int64_t x = 0; x < p->grid[1]; x += lanes) {
                v.from[vectors] = y * r->row_step + x;
                v.to[vectors] = y * p->grid[1] + x;
                v.valid[vectors++] = p->grid[1] - x < lanes ? p->grid[1] - x : lanes;
                bool last = y + 1 == p->grid[0] && x + lanes >= p->grid[1];
                if (vectors < PANEL_VECTORS && !last) continue;
                r->kernels->direct_panel(vectors, &v, p->weights + (size_t)(row * depth * unit) * size, planes, &tile);
                vectors = 0;
            }
    }
}

static void run_images(void *context, int thread) {
    const correlation *r = context;
    const ag_layout *l = &r->layout;
    size_t size = ag_type_size(r->type);
    int64_t image = l->channels * l->size[0] * l->size[1], planes = l->channels * plane_of(l);
    int64_t result = r->rows * r->target[0] * r->target[1], columns = (int64_t)r->kernels->lanes * PANEL_VECTORS;
    char *space = aligned(r->space + (size_t)thread * (size_t)r->each);
    char *rest = aligned(space + (size_t)(planes + PANEL_SLACK) * size);
    ag_panel panel = {.plane = plane_of(l)};
    memset(space, 0, (size_t)(planes + PANEL_SLACK) * size);
    for (int64_t i = thread; i < r->images * r->groups; i += r->threads) {
        r->kernels->lay_out(l, space, (const char *)r->source + (size_t)(i * image) * size);
        for (int64_t k = 0; k < r->phases; k++) {
            const phase *p = &r->phase[k];
            int64_t area = p->grid[0] * p->grid[1];
            char *to = (char *)r->to + (size_t)(i * result) * size;
            if (is_direct(r, p)) {
                run_rows(r, p, i % r->groups, space, to);
                continue;
            }
            for (int64_t at = 0; at < area; at += columns)
                run_panel(r, p, i % r->groups, at, area - at < columns ? area - at : columns, &panel, space, rest, to);
        }
    }
}

/* Bias by blocks of rows of each group, the rest 0. */
static void set_start(const correlation *r) {
    int64_t unit = r->kernels->panel_rows, rows = round_up(r->rows, unit);
    for (int64_t g = 0; g < r->groups; g++)
        for (int64_t i = 0; i < rows; i++)
            ag_store(r->type, r->start, g * rows + i, i < r->rows ? ag_load(r->type, r->bias, g * r->rows + i) : 0);
}

/* Memory for packed weights, planes, panels. */
static bool open_correlation(const ag_call *call, const ag_convolution *c, correlation *r, int64_t taps) {
    int64_t size = (int64_t)ag_type_size(r->type), unit = r->kernels->panel_rows, rows = round_up(r->rows, unit);
    int64_t planes, tile = r->skip[0] == 1 && r->skip[1] == 1 ? 0 : rows * MOST_PANEL_COLUMNS;
    r->threads = threads_for(c, r->images * r->groups);
    if (!ag_multiply_sizes(r->layout.rows * r->layout.split, r->layout.width, &planes) ||
        !ag_multiply_sizes(planes, r->layout.channels, &planes) ||
        !ag_multiply_sizes(planes + tile + (PANEL_DEPTH + 1) * MOST_PANEL_COLUMNS + 3 * PANEL_SLACK, size, &r->each))
        planes = r->each = INT64_MAX / 64;
    r->each += 128; /* for what is aligned */
    r->space = scratch(call, r->threads, r->each);
    if (!r->space) return false;
    r->start = scratch(call, r->groups * rows, size);
    r->phase = scratch(call, r->phases, sizeof *r->phase);
    if (!r->start || !r->phase) return false;
    memset(r->phase, 0, (size_t)r->phases * sizeof *r->phase);
    /* of all phases: their taps are disjoint */
    r->phase->weights = scratch(call, r->groups * rows * r->layout.channels * taps, size);
    r->phase->offset = scratch(call, 2 * taps, sizeof *r->phase->offset);
    return r->phase->weights && r->phase->offset;
}

static void close_correlation(const ag_call *call, correlation *r) {
    if (r->phase) {
        ag_scratch_free(call->tape, r->phase->weights);
        ag_scratch_free(call->tape, r->phase->offset);
    }
    ag_scratch_free(call->tape, r->phase);
    ag_scratch_free(call->tape, r->start);
    ag_scratch_free(call->tape, r->space);
}

/* By y: one phase, all taps. */
static void set_phase_of_y(const ag_convolution *c, correlation *r, const void *w) {
    phase *p = r->phase;
    int64_t taps = c->kernel[0] * c->kernel[1], *number = p->offset + taps;
    p->grid[0] = c->out[0], p->grid[1] = c->out[1];
    for (int64_t t = 0; t < taps; t++) {
        p->offset[t] = offset_in_x(c, &r->layout, t / c->kernel[1], t % c->kernel[1]);
        number[t] = t;
    }
    p->taps = taps;
    pack_weights(r, p, steps_of(c, CONV_Y), number, w);
}

/* By x: one for each remainder by the stride. */
static void set_phases_of_x(const ag_convolution *c, correlation *r, const void *w) {
    int64_t taps = c->kernel[0] * c->kernel[1], *offset = r->phase->offset, *number = offset + taps, shift[2];
    int64_t unit = r->groups * round_up(r->rows, r->kernels->panel_rows) * r->layout.channels;
    char *weights = r->phase->weights;
    for (int64_t k = 0; k < r->phases; k++) {
        int64_t start[2] = {k / phases_along(c, 1), k % phases_along(c, 1)};
        phase *p = &r->phase[k];
        *p = (phase){.grid = {grid_of(c, 0, start[0]), grid_of(c, 1, start[1])},
                     .start = {start[0], start[1]},
                     .offset = offset,
                     .weights = weights};
        for (int64_t i = 0; i < c->kernel[0]; i++)
            for (int64_t j = 0; j < c->kernel[1]; j++) {
                if (!meets(c, 0, start[0], i, &shift[0]) || !meets(c, 1, start[1], j, &shift[1])) continue;
                p->offset[p->taps] =
                    (shift[0] + r->layout.before[0]) * r->layout.width + shift[1] + r->layout.before[1];
                number[p->taps++] = i * c->kernel[1] + j;
            }
        pack_weights(r, p, steps_of(c, CONV_X), number, w);
        offset += p->taps;
        weights += (size_t)(unit * p->taps) * ag_type_size(r->type);
    }
}

static bool correlate(const ag_call *call, const ag_convolution *c, int role, void *const data[CONV_ROLES],
                      const void *bias, bool store) {
    bool by_y = role == CONV_Y;
    correlation r = {.kernels = ag_kernels_for(call->type),
                     .type = call->type,
                     .images = c->images,
                     .groups = c->groups,
                     .rows = by_y ? c->filters : c->channels,
                     .layout = by_y ? layout_of_x(c) : layout_of_y(c),
                     .phases = by_y ? 1 : phases_along(c, 0) * phases_along(c, 1),
                     .source = data[by_y ? CONV_X : CONV_Y],
                     .to = data[role],
                     .bias = bias,
                     .store = store};
    for (int a = 0; a < 2; a++) {
        r.target[a] = by_y ? c->out[a] : c->size[a];
        r.skip[a] = by_y ? 1 : c->stride[a];
    }
    r.row_step = (by_y ? c->stride[0] : 1) * r.layout.split * r.layout.width;
    bool ok = open_correlation(call, c, &r, c->kernel[0] * c->kernel[1]);
    if (ok) {
        if (bias) set_start(&r);
        if (by_y) set_phase_of_y(c, &r, data[CONV_W]);
        else set_phases_of_x(c, &r, data[CONV_W]);
        ag_parallel(r.threads, run_images, &r);
    }
    close_correlation(call, &r);
    return ok;
}

/* ---- by weights ---- */

typedef struct weight_sum {
    const ag_kernels *kernels;
    ag_type type;
    const ag_convolution *c;
    ag_layout layout;
    const void *x, *y;
    int64_t depth, rows, stride; /* rows: of a part, one for each channel and tap; stride: their length */
    int64_t chunk;               /* results at a time, whole rows */
    int parts, threads;
    char *sums, *space;
    int64_t part, each; /* bytes of a part of a group, and of a thread's space */
    const int64_t *offset;
} weight_sum;

/* Adds one image of one group to a part: in chunks of rows of results, whose transpose stays in the cache. */
static void add_image(const weight_sum *s, int64_t image, int64_t group, char *sum, char *space) {
    const ag_convolution *c = s->c;
    const ag_layout *l = &s->layout;
    size_t size = ag_type_size(s->type);
    int64_t area = c->out[0] * c->out[1], planes = l->channels * plane_of(l), unit = s->kernels->panel_rows;
    int64_t step = c->stride[0] * l->split * l->width, taps = c->kernel[0] * c->kernel[1];
    int64_t height = s->chunk / c->out[1];
    char *turned = aligned(space + (size_t)(planes + PANEL_SLACK) * size);
    int64_t at = image * c->groups + group;
    s->kernels->lay_out(l, space, (const char *)s->x + (size_t)(at * l->channels * l->size[0] * l->size[1]) * size);
    for (int64_t y = 0; y < c->out[0]; y += height) {
        ag_tap_block block = {.rows = c->out[0] - y < height ? c->out[0] - y : height,
                              .columns = c->out[1],
                              .row_step = step,
                              .stride = s->stride};
        const char *from = (const char *)s->y + (size_t)(at * c->filters * area + y * c->out[1]) * size;
        s->kernels->transpose((size_t)c->filters, (size_t)(block.rows * block.columns), turned, s->stride, from, area,
                              false);
        for (int64_t k = 0; k < s->depth; k += unit) {
            for (int64_t i = 0; i < unit; i++) {
                int64_t row = k + i < s->depth ? k + i : s->depth - 1;
                int64_t tap = row / taps * plane_of(l) + s->offset[row % taps] + y * step;
                block.tap[i] = space + (size_t)tap * size;
            }
            s->kernels->add_taps(&block, sum + (size_t)(k * s->stride) * size, turned);
        }
    }
}

/* Few taps: dot products of rows of y with what each tap meets, in lanes that are added up at the end. No transpose. */
static bool has_few_taps(const ag_convolution *c) { return c->channels * c->kernel[0] * c->kernel[1] <= FEW_TAPS; }

static void add_dots_of_image(const weight_sum *s, int64_t image, int64_t group, char *sum, char *space) {
    const ag_convolution *c = s->c;
    const ag_layout *l = &s->layout;
    size_t size = ag_type_size(s->type), width = (size_t)c->out[1] * size;
    int64_t area = c->out[0] * c->out[1], planes = l->channels * plane_of(l), unit = s->kernels->panel_rows;
    int64_t step = c->stride[0] * l->split * l->width, taps = c->kernel[0] * c->kernel[1];
    int64_t height = s->chunk / c->out[1], at = image * c->groups + group;
    char *met = aligned(space + (size_t)(planes + PANEL_SLACK) * size);
    s->kernels->lay_out(l, space, (const char *)s->x + (size_t)(at * l->channels * l->size[0] * l->size[1]) * size);
    for (int64_t y = 0; y < c->out[0]; y += height) {
        int64_t rows = c->out[0] - y < height ? c->out[0] - y : height, number = 0;
        for (int64_t k = 0; k < s->depth; k++)
            for (int64_t r = 0; r < rows; r++)
                memcpy(met + (size_t)(k * s->chunk) * size + (size_t)r * width,
                       space + (size_t)(k / taps * plane_of(l) + s->offset[k % taps] + (y + r) * step) * size, width);
        for (int64_t m = 0; m < c->filters; m += unit)
            for (int64_t k = 0; k < s->depth; k += DOT_TAPS, number++) {
                ag_dots dots = {.n = rows * c->out[1]};
                for (int64_t i = 0; i < unit; i++) {
                    int64_t row = m + i < c->filters ? m + i : c->filters - 1;
                    dots.row[i] = (const char *)s->y + (size_t)((at * c->filters + row) * area + y * c->out[1]) * size;
                }
                for (int64_t q = 0; q < DOT_TAPS; q++)
                    dots.tap[q] = met + (size_t)((k + q < s->depth ? k + q : s->depth - 1) * s->chunk) * size;
                s->kernels->add_dots(&dots, sum + (size_t)(number * unit * DOT_TAPS * s->kernels->lanes) * size);
            }
    }
}

/* The lanes of the dot products added up. */
static void join_lanes(const weight_sum *s, const char *sum, char *w, bool store) {
    int64_t unit = s->kernels->panel_rows, lanes = s->kernels->lanes, blocks = (s->depth + DOT_TAPS - 1) / DOT_TAPS;
    for (int64_t m = 0; m < s->c->filters; m++)
        for (int64_t k = 0; k < s->depth; k++) {
            int64_t block = m / unit * blocks + k / DOT_TAPS, at = m * s->depth + k;
            int64_t from = ((block * unit + m % unit) * DOT_TAPS + k % DOT_TAPS) * lanes;
            double total = s->kernels->sum((size_t)lanes, sum + (size_t)from * ag_type_size(s->type));
            ag_store(s->type, w, at, total + (store ? 0 : ag_load(s->type, w, at)));
        }
}

static void run_parts(void *context, int thread) {
    const weight_sum *s = context;
    char *space = s->space + (size_t)thread * (size_t)s->each;
    memset(space, 0, (size_t)s->each);
    space = aligned(space);
    for (int64_t i = thread; i < s->parts * s->c->groups; i += s->threads) {
        int64_t part = i / s->c->groups;
        char *sum = s->sums + (size_t)i * (size_t)s->part;
        memset(sum, 0, (size_t)s->part);
        for (int64_t n = part * s->c->images / s->parts; n < (part + 1) * s->c->images / s->parts; n++)
            (has_few_taps(s->c) ? add_dots_of_image : add_image)(s, n, i % s->c->groups, sum, space);
    }
}

/* The parts of each group added up, and turned into rows of a filter. */
static void join_parts(const weight_sum *s, void *w, bool store) {
    size_t size = ag_type_size(s->type);
    int64_t groups = s->c->groups, filter = s->c->filters;
    for (int64_t g = 0; g < groups; g++) {
        char *sum = s->sums + (size_t)(g * s->part);
        for (int64_t k = 1; k < s->parts; k++)
            s->kernels->add_to((size_t)(s->rows * s->stride), sum, sum + (size_t)(k * groups * s->part));
        if (has_few_taps(s->c)) {
            join_lanes(s, sum, (char *)w + (size_t)(g * filter * s->depth) * size, store);
            continue;
        }
        s->kernels->transpose((size_t)s->depth, (size_t)filter, (char *)w + (size_t)(g * filter * s->depth) * size,
                              s->depth, sum, s->stride, !store);
    }
}

static bool sum_weights(const ag_call *call, const ag_convolution *c, void *const data[CONV_ROLES], bool store) {
    int64_t size = (int64_t)ag_type_size(call->type), taps = c->kernel[0] * c->kernel[1], planes, groups;
    weight_sum s = {.kernels = ag_kernels_for(call->type),
                    .type = call->type,
                    .c = c,
                    .layout = layout_of_x(c),
                    .x = data[CONV_X],
                    .y = data[CONV_Y],
                    .depth = c->channels * taps};
    bool few = has_few_taps(c);
    s.rows = few ? round_up(c->filters, s.kernels->panel_rows) : round_up(s.depth, s.kernels->panel_rows);
    s.stride = few ? round_up(s.depth, DOT_TAPS) * s.kernels->lanes : round_up(c->filters, s.kernels->lanes);
    s.part = s.rows * s.stride * size;
    groups = c->groups * s.part;
    int64_t most = groups < MOST_PART_BYTES ? MOST_PART_BYTES / groups : 1;
    most = most > MOST_PARTS ? MOST_PARTS : most;
    s.parts = (int)(c->images < most ? c->images : most);
    s.threads = threads_for(c, s.parts * c->groups);
    int64_t results = few ? 4 * CHUNK_RESULTS : CHUNK_RESULTS;
    s.chunk = (results / c->out[1] > 1 ? results / c->out[1] : 1) * c->out[1];
    if (!ag_multiply_sizes(s.layout.rows * s.layout.split, s.layout.width, &planes) ||
        !ag_multiply_sizes(planes, s.layout.channels, &planes) ||
        !ag_multiply_sizes(planes + s.chunk * (few ? s.depth : s.stride) + 2 * PANEL_SLACK, size, &s.each))
        s.each = INT64_MAX / 64;
    s.each += 128;
    int64_t *offset = scratch(call, taps, sizeof *offset);
    s.sums = offset ? scratch(call, s.parts, groups) : NULL;
    s.space = s.sums ? scratch(call, s.threads, s.each) : NULL;
    if (s.space) {
        for (int64_t t = 0; t < taps; t++) offset[t] = offset_in_x(c, &s.layout, t / c->kernel[1], t % c->kernel[1]);
        s.offset = offset;
        ag_parallel(s.threads, run_parts, &s);
        join_parts(&s, data[CONV_W], store);
    }
    ag_scratch_free(call->tape, s.space);
    ag_scratch_free(call->tape, s.sums);
    ag_scratch_free(call->tape, offset);
    return s.space != NULL;
}

/* A sum over nothing. */
static void fill_bias(const ag_call *call, const ag_convolution *c, int role, void *to, const void *bias) {
    int64_t channels = c->groups * (role == CONV_X ? c->channels : c->filters);
    const int64_t *area = role == CONV_X ? c->size : c->out;
    for (int64_t i = 0; i < c->images * channels; i++)
        ag_kernels_for(call->type)
            ->fill((size_t)(area[0] * area[1]), ag_element(call->type, to, i * area[0] * area[1]),
                   bias ? ag_load(call->type, bias, i % channels) : 0);
}

bool ag_convolve(const ag_call *call, const ag_convolution *c, int role, void *const data[CONV_ROLES], const void *bias,
                 bool store) {
    if (ag_convolution_count(c, role) == 0) return true;
    for (int other = 0; other < CONV_ROLES; other++) {
        if (other == role || ag_convolution_count(c, other) != 0) continue;
        if (!store) return true;
        if (role == CONV_W) memset(data[role], 0, (size_t)ag_convolution_count(c, role) * ag_type_size(call->type));
        else fill_bias(call, c, role, data[role], bias);
        return true;
    }
    return role == CONV_W ? sum_weights(call, c, data, store) : correlate(call, c, role, data, bias, store);
}
