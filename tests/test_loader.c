/* Data sets, scaling, augmentation, and loaders: the same batches for any number of threads, and from any place on. */
#include "data_files.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

enum { ROWS = 103, HEIGHT = 5, WIDTH = 4, PIXELS = HEIGHT * WIDTH };

/* Images whose pixels tell row and place, and labels that are the row. */
typedef struct data {
    nn_array arrays[2];
} data;

static data make_data(nn_error *e) {
    data d = {{nn_array_new(NN_U8, AG_SHAPE(ROWS, HEIGHT, WIDTH), e), nn_array_new(NN_I32, AG_SHAPE(ROWS), e)}};
    for (int i = 0; e->status == AG_OK && i < ROWS; i++) {
        for (int k = 0; k < PIXELS; k++)
            ((uint8_t *)d.arrays[0].data)[i * PIXELS + k] = (uint8_t)(1 + (i * 7 + k) % 255);
        ((int32_t *)d.arrays[1].data)[i] = i;
    }
    return d;
}

static void free_data(data *d) {
    nn_array_free(&d->arrays[0]);
    nn_array_free(&d->arrays[1]);
}

/* ---- shuffling ---- */

static void permutations(void **unused) {
    (void)unused;
    static uint8_t seen[5000];
    for (int64_t n = 1; n <= 5000; n += 1 + n / 3)
        for (uint64_t key = 0; key < 3; key++) {
            memset(seen, 0, sizeof seen);
            for (int64_t i = 0; i < n; i++) {
                int64_t to = nn_shuffled(i, n, key);
                assert_in_range(to, 0, n - 1);
                assert_int_equal(seen[to]++, 0);
            }
        }
    assert_in_range(nn_shuffled(12345, INT64_C(1) << 40, 7), 0, (INT64_C(1) << 40) - 1);
}

/* Pearson's chi-square of all orders of 4, and of where each of 10 comes to lie. Bounds: the 99.99% points of chi-square with 23
 * and 81 degrees of freedom. */
static void permutations_are_random(void **unused) {
    (void)unused;
    enum { KEYS = 24000 };
    int orders[256] = {0}, places[10][10] = {{0}};
    double chi = 0;
    for (uint64_t key = 0; key < KEYS; key++) {
        int code = 0;
        for (int i = 0; i < 4; i++) code = 4 * code + (int)nn_shuffled(i, 4, key);
        orders[code]++;
        for (int i = 0; i < 10; i++) places[i][nn_shuffled(i, 10, key)]++;
    }
    for (int i = 0; i < 256; i++)
        if (orders[i] > 0) chi += pow(orders[i] - KEYS / 24.0, 2) / (KEYS / 24.0);
    if (chi > 56.2) fail_msg("orders of 4: chi-square %g", chi);
    chi = 0;
    for (int i = 0; i < 100; i++) chi += pow(places[i / 10][i % 10] - KEYS / 10.0, 2) / (KEYS / 10.0);
    if (chi > 139) fail_msg("places of 10: chi-square %g", chi);
}

/* ---- data sets ---- */

static void datasets(void **unused) {
    (void)unused;
    nn_error e = {0};
    data d = make_data(&e);
    nn_dataset all = nn_dataset_of(d.arrays, 2, &e), part, others, slice;
    assert_fine(&e);
    assert_true(all.count == ROWS && all.rows == NULL && all.field_count == 2 && all.fields[0].shape.rank == 2);
    nn_dataset_split(&all, 0.7, 5, &part, &others, &e);
    assert_fine(&e);
    assert_int_equal(part.count, 72); /* 72.1 */
    assert_int_equal(others.count, ROWS - 72);
    bool seen[ROWS] = {false};
    for (int64_t i = 0; i < ROWS; i++) {
        int64_t row = i < 72 ? part.rows[i] : others.rows[i - 72];
        assert_false(seen[row]);
        seen[row] = true;
        if (i != 0 && i != 72) assert_true(row > (i < 72 ? part.rows[i - 1] : others.rows[i - 73]));
    }
    nn_dataset again, rest;
    nn_dataset_split(&all, 0.7, 5, &again, &rest, &e);
    assert_memory_equal(part.rows, again.rows, 72 * sizeof *part.rows);
    nn_dataset_free(&again), nn_dataset_free(&rest);
    nn_dataset_split(&all, 0.7, 6, &again, &rest, &e);
    assert_memory_not_equal(part.rows, again.rows, 72 * sizeof *part.rows);
    slice = nn_dataset_slice(&part, 10, 5, &e);
    assert_true(slice.count == 5 && slice.rows[4] == part.rows[14]);
    nn_dataset_free(&slice), nn_dataset_free(&again), nn_dataset_free(&rest), nn_dataset_free(&part),
        nn_dataset_free(&others);
    nn_dataset_free(&others);

    nn_dataset_split(&all, 0.001, 1, &part, &others, &e);
    assert_error(&e, AG_ERR_VALUE, "split: a fraction of 0.001 of 103 samples leaves a part empty");
    nn_dataset_split(&all, NAN, 1, &part, &others, &e);
    assert_error(&e, AG_ERR_VALUE, "leaves a part empty");
    (void)nn_dataset_slice(&all, 100, 4, &e);
    assert_error(&e, AG_ERR_VALUE, "slice: 4 samples from 100 on, of 103");
    (void)nn_dataset_of(d.arrays, 0, &e);
    assert_error(&e, AG_ERR_VALUE, "0 arrays");
    nn_array scalar = {NN_U8, {.rank = 0}, d.arrays[0].data}, shorter = d.arrays[1], empty = shorter;
    (void)nn_dataset_of(&scalar, 1, &e);
    assert_error(&e, AG_ERR_SHAPE, "array 0 has no rows");
    shorter.shape.dim[0] = 5, empty.shape.dim[0] = 0;
    (void)nn_dataset_of((const nn_array[]){d.arrays[0], shorter}, 2, &e);
    assert_error(&e, AG_ERR_SHAPE, "array 1 of shape (5) has not 103 rows");
    (void)nn_dataset_of(&empty, 1, &e);
    assert_error(&e, AG_ERR_VALUE, "there are no samples");
    nn_array negative = shorter, unknown = shorter;
    negative.shape.dim[0] = -5, unknown.type = (nn_type)50;
    (void)nn_dataset_of(&negative, 1, &e);
    assert_error(&e, AG_ERR_SHAPE, "data set: array 0: no shape (-5)");
    (void)nn_dataset_of(&unknown, 1, &e);
    assert_error(&e, AG_ERR_VALUE, "data set: array 0: no type 50");
    free_data(&d);
}

static void windows(void **unused) {
    (void)unused;
    nn_error e = {0};
    static int32_t tokens[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    nn_array a = {NN_I32, {1, {10}}, tokens};
    nn_dataset set = nn_dataset_windows(&a, 3, 2, &e);
    assert_fine(&e);
    assert_int_equal(set.count, 4); /* from 0, 2, 4, 6 */
    nn_loader *l =
        nn_loader_new(&set, &(nn_loader_options){.batch = 4, .fields = {{.type = NN_I64}, {.type = NN_I64}}}, &e);
    nn_batch b;
    assert_true(nn_loader_next(l, &b, &e));
    for (int i = 0; i < 12; i++) {
        assert_int_equal(((const int64_t *)b.fields[0].data)[i], i / 3 * 2 + i % 3);
        assert_int_equal(((const int64_t *)b.fields[1].data)[i], i / 3 * 2 + i % 3 + 1);
    }
    nn_loader_free(l);
    assert_int_equal(nn_dataset_windows(&a, 3, 1, &e).count, 7);
    assert_int_equal(nn_dataset_windows(&a, 9, 1000, &e).count, 1);
    assert_fine(&e);
    (void)nn_dataset_windows(&a, 10, 1, &e);
    assert_error(&e, AG_ERR_VALUE, "10 tokens are too few for length 10");
    (void)nn_dataset_windows(&a, 0, 1, &e);
    assert_error(&e, AG_ERR_VALUE, "length 0, step 1");
    a.shape = AG_SHAPE(2, 5);
    (void)nn_dataset_windows(&a, 1, 1, &e);
    assert_error(&e, AG_ERR_SHAPE, "not a vector");
}

/* ---- scaling ---- */

static void scaling(void **unused) {
    (void)unused;
    nn_error e = {0};
    double values[] = {1, 2, 5, 10, NAN, 4, 5, 30, 3, 6, 5, 1e9}; /* 3 rows of (2, 2); the third is not for training */
    nn_array a = {NN_F64, {3, {3, 2, 2}}, values};
    nn_dataset all = nn_dataset_of(&a, 1, &e), train = nn_dataset_slice(&all, 0, 2, &e);
    nn_scale s = nn_scale_fit(&train, 0, NN_PER_ELEMENT, &e);
    assert_fine(&e);
    static const double mean[] = {1, 3, 5, 20}, deviation[] = {1, 1, 1, 10}; /* 0 became 1 twice */
    assert_memory_equal(s.mean.data, mean, sizeof mean);
    assert_memory_equal(s.deviation.data, deviation, sizeof deviation);
    float x[] = {NAN, 3, 6, 0};
    nn_scale_apply(&s, NN_F32, x, 1, 4, &e);
    assert_true(isnan(x[0]) && x[1] == 0 && x[2] == 1 && x[3] == -2);
    s.fill_missing = true;
    double y[] = {NAN, 4, 6, 0};
    nn_scale_apply(&s, NN_F64, y, 1, 4, &e);
    assert_true(y[0] == 0 && y[1] == 1 && y[2] == 1 && y[3] == -2);
    nn_scale_apply(&s, NN_F64, y, 1, 3, &e);
    assert_error(&e, AG_ERR_SHAPE, "3 numbers do not form 4 groups");
    nn_scale_apply(&s, NN_I32, y, 1, 4, &e);
    assert_error(&e, AG_ERR_VALUE, "only F32 and F64");
    nn_scale_free(&s), nn_scale_free(&s);
    s = nn_scale_fit(&train, 0, NN_PER_CHANNEL, &e);
    assert_int_equal(nn_array_count(&s.mean), 2);
    assert_true(fabs(nn_array_at(&s.mean, 0) - 7 / 3.0) < 1e-15 && nn_array_at(&s.mean, 1) == 12.5);
    nn_scale_free(&s);
    s = nn_scale_fit(&train, 0, NN_PER_FIELD, &e);
    assert_int_equal(nn_array_count(&s.mean), 1);
    assert_true(fabs(nn_array_at(&s.mean, 0) - 57 / 7.0) < 1e-15);
    nn_scale_free(&s);
    values[1] = INFINITY;
    (void)nn_scale_fit(&train, 0, NN_PER_FIELD, &e);
    assert_error(&e, AG_ERR_VALUE, "scale: element 1 of row 0 is infinite");
    (void)nn_scale_fit(&train, 1, NN_PER_FIELD, &e);
    assert_error(&e, AG_ERR_VALUE, "field 1 of 1");
    assert_null(nn_scale_fit(&train, 0, (nn_grouping)77, &e).mean.data);
    assert_error(&e, AG_ERR_VALUE, "scale: there is no grouping 77");
    values[1] = 1e308, values[2] = 1.7e308;
    (void)nn_scale_fit(&train, 0, NN_PER_FIELD, &e);
    assert_error(&e, AG_ERR_VALUE, "too large to be added up");
    nn_dataset_free(&train);
}

/* A column of the same number, which its sum does not give back: another number later is not blown up. */
static void constants_are_not_scaled_up(void **unused) {
    (void)unused;
    nn_error e = {0};
    double values[ROWS], other = 0.3, huge[] = {NAN, -1e308, 1e308};
    for (int i = 0; i < ROWS; i++) values[i] = i == 0 ? NAN : 0.1;
    nn_array a = {NN_F64, {1, {ROWS}}, values}, b = {NN_F64, {1, {3}}, huge};
    nn_dataset set = nn_dataset_of(&a, 1, &e), wide = nn_dataset_of(&b, 1, &e);
    nn_scale s = nn_scale_fit(&set, 0, NN_PER_FIELD, &e);
    assert_fine(&e);
    assert_true(((const double *)s.mean.data)[0] == 0.1 && ((const double *)s.deviation.data)[0] == 1);
    nn_scale_apply(&s, NN_F64, &other, 1, 1, &e);
    assert_true(other == 0.3 - 0.1);
    nn_scale_free(&s);
    (void)nn_scale_fit(&wide, 0, NN_PER_FIELD, &e);
    assert_error(&e, AG_ERR_VALUE, "too large to be added up");
}

/* Seconds since 1970 in a batch of floats, which are 128 s apart there: scaled before they are rounded. */
static void scaled_before_rounded(void **unused) {
    (void)unused;
    nn_error e = {0};
    double times[ROWS];
    int64_t integers[ROWS];
    for (int i = 0; i < ROWS; i++) integers[i] = 1600000000 + i, times[i] = (double)integers[i];
    nn_array a[] = {{NN_F64, {1, {ROWS}}, times}, {NN_I64, {1, {ROWS}}, integers}};
    nn_dataset set = nn_dataset_of(a, 2, &e);
    nn_scale s = nn_scale_fit(&set, 0, NN_PER_FIELD, &e);
    double mean = ((const double *)s.mean.data)[0], deviation = ((const double *)s.deviation.data)[0];
    nn_loader *l =
        nn_loader_new(&set, &(nn_loader_options){.batch = ROWS, .fields = {{.scale = &s}, {.scale = &s}}}, &e);
    nn_batch b;
    assert_true(nn_loader_next(l, &b, &e));
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < 2; k++)
            assert_true(fabs((double)((const float *)b.fields[k].data)[i] - (times[i] - mean) / deviation) < 1e-6);
    nn_loader_free(l);
    nn_scale_free(&s);
}

/* ---- augmentation ---- */

/* An image 4 high and 5 wide, two channels, pixels 1 to 20 and 101 to 120. Where does the window lie? */
static void augmentation(void **unused) {
    (void)unused;
    uint8_t image[40], out[40];
    ag_shape shape = AG_SHAPE(2, 4, 5);
    nn_error e = {0};
    for (int i = 0; i < 20; i++) image[i] = (uint8_t)(1 + i), image[20 + i] = (uint8_t)(101 + i);
    nn_augment a = {.crop_height = 3, .crop_width = 2, .shift = 1, .flip = true};
    ag_shape to = nn_augmented_shape(&a, shape, &e);
    assert_true(to.dim[0] == 2 && to.dim[1] == 3 && to.dim[2] == 2);
    int tops[6] = {0}, lefts[8] = {0}, flips = 0;
    for (uint64_t key = 0; key < 2000; key++) {
        int found = 0;
        nn_augment_sample(&a, shape, 1, (const char *)image, (char *)out, key);
        for (int top = -1; top <= 2; top++)
            for (int left = -1; left <= 4; left++)
                for (int flip = 0; flip < 2; flip++) {
                    bool same = true;
                    for (int i = 0; i < 12; i++) {
                        int c = i / 6, y = top + i % 6 / 2, x = left + (flip ? 1 - i % 2 : i % 2);
                        int want = y < 0 || y > 3 || x < 0 || x > 4 ? 0 : image[c * 20 + y * 5 + x];
                        same = same && out[i] == want;
                    }
                    if (same) found++, tops[top + 1]++, lefts[left + 1]++, flips += flip;
                }
        assert_int_equal(found, 1);
    }
    for (int i = 0; i < 4; i++) assert_true(tops[i] > 200); /* of 333, 667, 667, 333 */
    for (int i = 0; i < 6; i++) assert_true(lefts[i] > 100);
    assert_in_range(flips, 900, 1100);

    a.centre = true;
    nn_augment_sample(&a, shape, 1, (const char *)image, (char *)out, 3);
    static const uint8_t middle[] = {2, 3, 7, 8, 12, 13, 102, 103, 107, 108, 112, 113};
    assert_memory_equal(out, middle, sizeof middle);

    a = (nn_augment){.crop_height = 5};
    (void)nn_augmented_shape(&a, shape, &e);
    assert_error(&e, AG_ERR_VALUE, "a window of 5 x 0, shifted by up to 0, in images of 4 x 5");
    a = (nn_augment){.shift = -1};
    (void)nn_augmented_shape(&a, shape, &e);
    assert_error(&e, AG_ERR_VALUE, "augment");
    (void)nn_augmented_shape(&a, AG_SHAPE(7), &e);
    assert_error(&e, AG_ERR_SHAPE, "samples of shape (7) are no images");
}

/* ---- loaders ---- */

/* All bytes of some batches: what comes out of a loader, to be compared. */
typedef struct record {
    char bytes[1 << 17];
    size_t size;
} record;

static void add_bytes(record *r, const void *bytes, size_t size) {
    assert_true(r->size + size <= sizeof r->bytes);
    memcpy(r->bytes + r->size, bytes, size);
    r->size += size;
}

static void add_batch(record *r, const nn_batch *b) {
    add_bytes(r, b->rows, (size_t)b->count * sizeof *b->rows);
    for (int i = 0; i < b->field_count; i++) {
        assert_int_equal(b->fields[i].shape.dim[0], b->count);
        add_bytes(r, b->fields[i].data, (size_t)nn_array_count(&b->fields[i]) * nn_type_size(b->fields[i].type));
    }
}

static const nn_augment jitter = {.shift = 1, .flip = true, .crop_height = 4};

static nn_loader_options options_of(int threads, const nn_scale *scale) {
    return (nn_loader_options){.batch = 8,
                               .shuffle = true,
                               .seed = 42,
                               .threads = threads,
                               .fields = {{.scale = scale, .augment = &jitter}, {.type = NN_I64}}};
}

/* Batches from a state on, until `count` were read; the state after them. */
static nn_loader_state run(const nn_dataset *set, const nn_loader_options *o, const nn_loader_state *from, int count,
                           record *r) {
    nn_error e = {0};
    nn_batch b;
    nn_loader *l = nn_loader_new(set, o, &e);
    if (from != NULL) nn_loader_seek(l, *from, &e);
    while (count > 0) {
        if (!nn_loader_next(l, &b, &e)) {
            assert_fine(&e); /* the end of an epoch */
            continue;
        }
        add_batch(r, &b);
        count--;
    }
    assert_fine(&e);
    nn_loader_state state = nn_loader_where(l);
    nn_loader_free(l);
    return state;
}

static record first, second;

static void any_number_of_threads(void **unused) {
    (void)unused;
    nn_error e = {0};
    data d = make_data(&e);
    nn_dataset set = nn_dataset_of(d.arrays, 2, &e);
    nn_scale scale = nn_scale_fit(&set, 0, NN_PER_FIELD, &e);
    for (int threads = -1; threads <= 5; threads++) {
        nn_loader_options o = options_of(threads, &scale);
        record *r = threads < 0 ? &first : &second;
        r->size = 0;
        (void)run(&set, &o, NULL, 40, r);
        if (threads < 0) continue;
        assert_int_equal(first.size, second.size);
        assert_memory_equal(first.bytes, second.bytes, first.size);
    }
    nn_scale_free(&scale);
    free_data(&d);
}

#ifdef __GLIBC__
static void *nothing(void *unused) { return unused; }

/* Stacks that no address space has room for: no thread starts. */
static void no_threads_to_be_had(void **unused) {
    (void)unused;
    nn_error e = {0};
    data d = make_data(&e);
    nn_dataset set = nn_dataset_of(d.arrays, 2, &e);
    nn_loader_options o = options_of(3, NULL);
    first.size = second.size = 0;
    (void)run(&set, &o, NULL, 20, &first);
    pthread_attr_t before, huge;
    pthread_t thread;
    assert_int_equal(pthread_getattr_default_np(&before), 0);
    assert_int_equal(pthread_getattr_default_np(&huge), 0);
    assert_int_equal(pthread_attr_setstacksize(&huge, (size_t)1 << 50), 0);
    assert_int_equal(pthread_setattr_default_np(&huge), 0);
    int failed = pthread_create(&thread, NULL, nothing, NULL);
    if (failed) (void)run(&set, &o, NULL, 20, &second);
    else (void)pthread_join(thread, NULL);
    assert_int_equal(pthread_setattr_default_np(&before), 0);
    (void)pthread_attr_destroy(&before), (void)pthread_attr_destroy(&huge);
    assert_true(failed);
    assert_int_equal(first.size, second.size);
    assert_memory_equal(first.bytes, second.bytes, first.size);
    free_data(&d);
}
#else
static void no_threads_to_be_had(void **unused) { (void)unused; }
#endif

/* Interrupted after each batch and taken up by another loader: the same batches. */
static void goes_on_from_anywhere(void **unused) {
    (void)unused;
    nn_error e = {0};
    data d = make_data(&e);
    nn_dataset set = nn_dataset_of(d.arrays, 2, &e);
    for (int drop = 0; drop < 2; drop++) {
        nn_loader_options o = options_of(1, NULL);
        o.drop_last = drop;
        first.size = second.size = 0;
        (void)run(&set, &o, NULL, 30, &first);
        nn_loader_state state = {.seed = 42};
        o.seed = 0; /* the state's is used */
        for (int i = 0; i < 30; i++) state = run(&set, &o, &state, 1, &second);
        assert_int_equal(first.size, second.size);
        assert_memory_equal(first.bytes, second.bytes, first.size);
    }
    nn_loader *l = nn_loader_new(&set, &(nn_loader_options){.batch = 8}, &e);
    nn_loader_seek(l, (nn_loader_state){.position = 9}, &e);
    assert_error(&e, AG_ERR_VALUE, "position 9 of epoch 0 is not where a batch of 8 begins");
    nn_loader_seek(l, (nn_loader_state){.position = 104}, &e);
    assert_error(&e, AG_ERR_VALUE, "position 104");
    nn_loader_seek(l, (nn_loader_state){.epoch = -1}, &e);
    assert_error(&e, AG_ERR_VALUE, "epoch -1");
    nn_loader_seek(l, (nn_loader_state){.epoch = INT64_MAX}, &e); /* which nothing could follow */
    assert_error(&e, AG_ERR_VALUE, "epoch 9223372036854775807");
    nn_batch b;
    nn_loader_seek(l, (nn_loader_state){.position = 103}, &e);
    assert_false(nn_loader_next(l, &b, &e)); /* the epoch is over */
    assert_true(nn_loader_next(l, &b, &e) && b.rows[0] == 0 && nn_loader_where(l).epoch == 1);
    nn_loader_seek(l, (nn_loader_state){.position = 96}, &e); /* in the middle, while a batch is out */
    assert_true(nn_loader_next(l, &b, &e) && b.count == 7 && b.rows[0] == 96);
    nn_loader_free(l);
    free_data(&d);
}

static void epochs(void **unused) {
    (void)unused;
    nn_error e = {0};
    data d = make_data(&e);
    nn_dataset set = nn_dataset_of(d.arrays, 2, &e);
    for (int drop = 0; drop < 2; drop++) {
        nn_loader_options o = {
            .batch = 10, .shuffle = true, .drop_last = drop, .fields = {{.type = NN_U8}, {.type = NN_I32}}};
        nn_loader *l = nn_loader_new(&set, &o, &e);
        int64_t orders[2][ROWS], samples[2] = {0}, batches[2] = {0};
        assert_int_equal(nn_loader_batches(l), drop ? 10 : 11);
        for (int epoch = 0; epoch < 2; epoch++) {
            bool seen[ROWS] = {false};
            assert_int_equal(nn_loader_where(l).epoch, epoch);
            for (nn_batch b; nn_loader_next(l, &b, &e); batches[epoch]++)
                for (int64_t i = 0; i < b.count; i++) {
                    int64_t row = b.rows[i];
                    assert_false(seen[row]);
                    seen[row] = true;
                    orders[epoch][samples[epoch]++] = row;
                    assert_int_equal(((const int32_t *)b.fields[1].data)[i], row);
                    assert_memory_equal((const char *)b.fields[0].data + i * PIXELS,
                                        (const char *)d.arrays[0].data + row * PIXELS, PIXELS);
                }
            assert_fine(&e);
        }
        assert_int_equal(batches[0], drop ? 10 : 11);
        assert_int_equal(samples[0], drop ? 100 : ROWS);
        assert_int_equal(samples[1], samples[0]);
        assert_memory_not_equal(orders[0], orders[1], sizeof(int64_t) * 100);
        nn_loader_free(l);
    }
    free_data(&d);
}

/* The training part's own rows, not those of the whole. */
static void parts(void **unused) {
    (void)unused;
    nn_error e = {0};
    data d = make_data(&e);
    nn_dataset all = nn_dataset_of(d.arrays, 2, &e), part, others;
    nn_dataset_split(&all, 0.5, 3, &part, &others, &e);
    nn_loader *l = nn_loader_new(&part, &(nn_loader_options){.batch = 1000}, &e); /* larger than the set */
    int64_t rows[ROWS];
    memcpy(rows, part.rows, (size_t)part.count * sizeof *rows);
    nn_dataset_free(&part); /* the loader has a copy */
    nn_batch b;
    assert_true(nn_loader_next(l, &b, &e));
    assert_int_equal(b.count, 52);
    assert_memory_equal(b.rows, rows, 52 * sizeof *rows);
    assert_true(b.fields[1].type == NN_F32 && ((const float *)b.fields[1].data)[51] == (float)rows[51]);
    nn_loader_free(l);
    nn_dataset_free(&others);
    free_data(&d);
}

/* ---- errors ---- */

static void value_that_does_not_fit(void **unused) {
    (void)unused;
    static const struct {
        nn_type type;
        double value;
        bool scaled;
        const char *message;
    } cases[] = {
        {NN_I64, 0.5, false, "batch: field 0 of row 17 has 0.5, which I64 cannot hold"},
        {NN_F32, -1.5e300, false, "batch: field 0 of row 17 has -1.5000000000000001e+300, which F32 cannot hold"},
        {NN_F32, 1e300, true, "batch: field 0 of row 17 has 1.0000000000000001e+300, which F32 cannot hold"}};
    for (int i = 0; i < 15; i++) {
        int threads = i / 3 - 1, c = i % 3;
        double mean = 1, deviation = 2;
        nn_scale scale = {.mean = {NN_F64, {1, {1}}, &mean}, .deviation = {NN_F64, {1, {1}}, &deviation}};
        nn_error e = {0};
        double values[30];
        for (int k = 0; k < 30; k++) values[k] = k == 17 ? cases[c].value : k;
        nn_array a = {NN_F64, {1, {30}}, values};
        nn_dataset set = nn_dataset_of(&a, 1, &e);
        nn_loader_options o = {.batch = 5, .threads = threads, .fields = {{.type = cases[c].type}}};
        if (cases[c].scaled) o.fields[0].scale = &scale;
        nn_loader *l = nn_loader_new(&set, &o, &e);
        nn_batch b;
        for (int k = 0; k < 3; k++) assert_true(nn_loader_next(l, &b, &e)); /* those before it come first */
        for (int k = 0; k < 2; k++) {
            assert_false(nn_loader_next(l, &b, &e));
            assert_int_equal(b.count, 0);
            assert_error(&e, AG_ERR_VALUE, cases[c].message);
        }
        nn_loader_free(l);
    }
}

static atomic_int hooks;

static void hook(void *context, nn_batch *batch, nn_error *e) {
    atomic_fetch_add(&hooks, 1);
    for (int64_t i = 0; i < batch->count; i++) ((float *)batch->fields[1].data)[i] += 1000;
    for (int64_t i = 0; i < batch->count; i++)
        if (batch->rows[i] == *(const int64_t *)context) nn_fail(e, AG_ERR_UNSUPPORTED, "row %d", (int)batch->rows[i]);
}

static void hooks_are_called(void **unused) {
    (void)unused;
    nn_error e = {0};
    data d = make_data(&e);
    nn_dataset set = nn_dataset_of(d.arrays, 2, &e);
    int64_t bad = 77;
    nn_loader_options o = {.batch = 10, .threads = 2, .hook = hook, .context = &bad};
    nn_loader *l = nn_loader_new(&set, &o, &e);
    nn_batch b;
    for (int i = 0; i < 7; i++) {
        assert_true(nn_loader_next(l, &b, &e));
        assert_true(((const float *)b.fields[1].data)[3] == (float)(1003 + 10 * i));
    }
    assert_false(nn_loader_next(l, &b, &e));
    assert_error(&e, AG_ERR_UNSUPPORTED, "row 77");
    nn_loader_free(l);
    assert_true(atomic_load(&hooks) >= 8);
    free_data(&d);
}

/* Freed before the first batch, in the middle of everything, while a batch is out, with batches waiting. */
static void stopped_early(void **unused) {
    (void)unused;
    nn_error e = {0};
    data d = make_data(&e);
    nn_dataset set = nn_dataset_of(d.arrays, 2, &e);
    int before = taken;
    for (int threads = -1; threads <= 4; threads++)
        for (int count = 0; count < 30; count++) {
            nn_loader_options o = options_of(threads, NULL);
            nn_loader *l = nn_loader_new(&set, &o, &e);
            nn_batch b;
            for (int i = 0; i < count; i++) (void)nn_loader_next(l, &b, &e);
            assert_fine(&e);
            nn_loader_free(l);
            assert_int_equal(taken, before);
        }
    nn_loader_free(NULL);
    free_data(&d);
}

static void wrong_options(void **unused) {
    (void)unused;
    nn_error e = {0};
    data d = make_data(&e);
    nn_dataset set = nn_dataset_of(d.arrays, 2, &e), none = {0};
    nn_batch b;
    assert_null(nn_loader_new(&set, &(nn_loader_options){.batch = 0}, &e));
    assert_error(&e, AG_ERR_VALUE, "loader: 103 samples in batches of 0");
    assert_null(nn_loader_new(&none, &(nn_loader_options){.batch = 1}, &e));
    assert_error(&e, AG_ERR_VALUE, "loader: 0 samples");
    assert_null(nn_loader_new(&set, &(nn_loader_options){.batch = 104, .drop_last = true}, &e));
    assert_error(&e, AG_ERR_VALUE, "all of which would be dropped");
    assert_null(nn_loader_new(&set, &(nn_loader_options){.batch = 1, .threads = 65}, &e));
    assert_error(&e, AG_ERR_VALUE, "65 threads");
    assert_null(nn_loader_new(
        &set, &(nn_loader_options){.batch = 1, .fields = {{.augment = &jitter}, {.augment = &jitter}}}, &e));
    assert_error(&e, AG_ERR_SHAPE, "samples of shape () are no images");
    nn_scale scale = nn_scale_fit(&set, 0, NN_PER_ELEMENT, &e);
    assert_null(
        nn_loader_new(&set, &(nn_loader_options){.batch = 1, .fields = {{.augment = &jitter, .scale = &scale}}}, &e));
    assert_error(&e, AG_ERR_SHAPE, "16 numbers do not form 20 groups");
    assert_null(
        nn_loader_new(&set, &(nn_loader_options){.batch = 1, .fields = {{.type = NN_I32, .scale = &scale}}}, &e));
    assert_error(&e, AG_ERR_VALUE, "only F32 and F64");
    assert_null(nn_loader_new(&set, &(nn_loader_options){.batch = 1, .fields = {{.type = (nn_type)50}}}, &e));
    assert_error(&e, AG_ERR_VALUE, "no type 50");
    assert_null(nn_loader_new(&set, NULL, &e));
    assert_error(&e, AG_ERR_VALUE, "loader: the pointer to options is NULL");
    assert_false(nn_loader_next(NULL, &b, &e));
    nn_loader_seek(NULL, (nn_loader_state){0}, &e);
    assert_true(nn_loader_batches(NULL) == 0 && nn_loader_where(NULL).epoch == 0);
    nn_scale_free(&scale);
    free_data(&d);
}

/* ---- memory ---- */

static void use_everything(nn_error *e) {
    nn_dataset part = {0}, others = {0};
    nn_scale scale = {0};
    nn_batch b;
    data d = make_data(e);
    nn_dataset all = nn_dataset_of(d.arrays, 2, e);
    nn_dataset_split(&all, 0.5, 1, &part, &others, e);
    scale = nn_scale_fit(&part, 0, NN_PER_FIELD, e);
    nn_loader_options o = options_of(2, &scale);
    nn_loader *l = nn_loader_new(&part, &o, e);
    while (nn_loader_next(l, &b, e)) continue;
    nn_loader_free(l);
    nn_scale_free(&scale);
    nn_dataset_free(&part), nn_dataset_free(&others);
    free_data(&d);
}

static void no_memory(void **unused) {
    (void)unused;
    refuse_each_allocation(use_everything);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(permutations),
        cmocka_unit_test(permutations_are_random),
        cmocka_unit_test(datasets),
        cmocka_unit_test(windows),
        cmocka_unit_test(scaling),
        cmocka_unit_test(constants_are_not_scaled_up),
        cmocka_unit_test(scaled_before_rounded),
        cmocka_unit_test(augmentation),
        cmocka_unit_test(any_number_of_threads),
        cmocka_unit_test(no_threads_to_be_had),
        cmocka_unit_test(goes_on_from_anywhere),
        cmocka_unit_test(epochs),
        cmocka_unit_test(parts),
        cmocka_unit_test(value_that_does_not_fit),
        cmocka_unit_test(hooks_are_called),
        cmocka_unit_test(stopped_early),
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
