/* NULL where nn's functions need a pointer, and models that could not be made: an error or nothing. */
#include "null_calls.h"

#include "nn/nn.h"

/* What the calls work on. */
static nn_model *model;
static nn_dense dense;
static nn_optimiser *sgd;
static nn_step *step;
static ag_var x;         /* (2, 3) */
static nn_array numbers; /* (4, 3) */
static nn_array labels;  /* (4) */
static nn_dataset set;
static nn_loader *loader;
static nn_sequential *net;
static nn_error e;
static FILE *sink;

static void forward(void *context, const ag_var *batch, ag_var *out) {
    (void)context;
    out[0] = ag_mean(ag_square(nn_dense_apply(dense, batch[0])));
}

static int open_all(void **state) {
    (void)state;
    t = ag_tape_new(AG_F32);
    model = nn_model_new(t, 1);
    dense = nn_dense_init(model, "d", 3, 2, (nn_dense_options){0});
    net = nn_sequential_new(model, "net");
    sgd = nn_sgd(model, (nn_sgd_options){0});
    step = nn_step_new(model, forward, NULL, (nn_step_options){0});
    x = ag_tensor(t, NULL, AG_SHAPE(2, 3));
    numbers = nn_array_new(NN_F32, AG_SHAPE(4, 3), &e);
    labels = nn_array_new(NN_I64, AG_SHAPE(4), &e);
    set = nn_dataset_of((const nn_array[]){numbers, labels}, 2, &e);
    loader = nn_loader_new(&set, &(nn_loader_options){.batch = 2, .threads = -1}, &e);
    sink = fopen("/dev/null", "w");
    return sink == NULL || ag_tape_status(t) != AG_OK || e.status != AG_OK;
}

static int close_all(void **state) {
    (void)state;
    fclose(sink);
    nn_loader_free(loader);
    nn_dataset_free(&set);
    nn_array_free(&numbers);
    nn_array_free(&labels);
    nn_step_free(step);
    nn_optimiser_free(sgd);
    nn_model_free(model);
    ag_tape_free(t);
    return 0;
}

/* The same of the nn_error. */
static void error_set(const char *call, const char *word) {
    if (e.status == AG_OK) fail_msg("%s is accepted", call);
    if (e.status == AG_ERR_MEMORY || strstr(e.message, word) == NULL) fail_msg("%s: %s", call, e.message);
    e = (nn_error){0};
}
#define ERROR(call, word) (note_call(#call), (void)(call), error_set(#call, word))
/* One that has nowhere to say so. */
#define QUIET(call) (note_call(#call), (void)(call))

/* ---- models and layers ---- */

static void no_model(void **state) {
    nn_state s;
    const nn_array none = {0};
    const nn_recurrent recurrent = {0};
    const nn_block block = {0};
    ag_var out[1];
    (void)state;
    QUIET(nn_model_new(NULL, 1));
    QUIET(nn_model_free(NULL));
    QUIET(nn_model_tape(NULL));
    QUIET(nn_parameter(NULL, "w", AG_SHAPE(2), NN_ZEROS));
    QUIET(nn_parameter_with(NULL, "w", AG_SHAPE(2), NN_ZEROS, 1));
    QUIET(nn_initialise(NULL, "w", NN_ZEROS, 1));
    QUIET(nn_buffer(NULL, "w", AG_SHAPE(2), NN_ZEROS));
    QUIET(nn_parameter_count(NULL));
    QUIET(nn_parameter_name(NULL, 0));
    QUIET(nn_parameter_at(NULL, 0));
    QUIET(nn_parameter_find(NULL, "w"));
    QUIET(nn_model_size(NULL));
    QUIET(nn_buffer_count(NULL));
    QUIET(nn_buffer_name(NULL, 0));
    QUIET(nn_buffer_at(NULL, 0));
    QUIET(nn_buffer_find(NULL, "w"));
    QUIET(nn_model_has(NULL, "w"));
    QUIET(nn_model_update(NULL, x, x));
    QUIET(nn_buffer_latest(NULL, x));
    QUIET(nn_buffer_update_at(NULL, 0));
    QUIET(nn_model_commit(NULL));
    QUIET(nn_model_discard(NULL));
    QUIET(nn_model_train(NULL, true));
    QUIET(nn_model_training(NULL));
    QUIET(nn_model_clock(NULL));
    QUIET(nn_model_key(NULL, "a"));
    QUIET(nn_dense_apply(nn_dense_init(NULL, "a", 3, 2, (nn_dense_options){0}), x));
    QUIET(nn_dense_activated(nn_dense_init(NULL, "a", 3, 2, (nn_dense_options){0}), x, NN_RELU));
    QUIET(nn_embedding_at(nn_embedding_init(NULL, "a", 3, 2, (nn_embedding_options){0}), x));
    QUIET(nn_embedding_apply(nn_embedding_init(NULL, "a", 3, 2, (nn_embedding_options){0}), NULL, AG_SHAPE(2)));
    QUIET(nn_layer_norm_apply(nn_layer_norm_init(NULL, "a", 3, (nn_norm_options){0}), x));
    QUIET(nn_rms_norm_apply(nn_rms_norm_init(NULL, "a", 3, (nn_norm_options){0}), x));
    QUIET(nn_batch_norm_apply(nn_batch_norm_init(NULL, "a", 3, (nn_batch_norm_options){0}), x));
    QUIET(nn_group_norm_apply(nn_group_norm_init(NULL, "a", 1, 3, (nn_norm_options){0}), x));
    QUIET(nn_conv_apply(nn_conv_init(NULL, NN_CONV1D, "a", 1, 1, 1, 1, (nn_conv_options){0}), x));
    QUIET(nn_dropout_apply(nn_dropout_init(NULL, "a", 0.5), x));
    const nn_attention attention = nn_attention_init(NULL, "a", 4, 2, (nn_attention_options){0});
    QUIET(nn_attention_apply(attention, x, ag_num(0)));
    ag_tape_recover(t);
    QUIET(nn_block_apply(&block, x, ag_num(0)));
    QUIET(nn_block_init(NULL, "a", 4, 2, (nn_block_options){0}));
    QUIET(nn_recurrent_init(NULL, NN_LSTM, "a", 2, 2, (nn_recurrent_options){0}));
    QUIET(nn_recurrent_apply(&recurrent, x, (nn_recurrent_state){0}, NULL));
    ag_tape_recover(t);
    QUIET(nn_sequential_new(NULL, "a"));
    QUIET(nn_sequential_apply(NULL, x));
    QUIET(nn_sequential_count(NULL));
    QUIET(nn_sequential_next(NULL));
    QUIET(nn_sequential_add(NULL, NULL, NULL, 0));
    QUIET(nn_sequential_activation(NULL, NN_RELU));
    QUIET(nn_sequential_dense(NULL, 2, 2, (nn_dense_options){0}));
    QUIET(nn_sequential_layer_norm(NULL, 2, (nn_norm_options){0}));
    QUIET(nn_sequential_batch_norm(NULL, 2, (nn_batch_norm_options){0}));
    QUIET(nn_sequential_conv(NULL, NN_CONV1D, 1, 1, 1, 1, (nn_conv_options){0}));
    QUIET(nn_sequential_max_pool2d(NULL, (ag_pool_options){0}));
    QUIET(nn_sequential_avg_pool2d(NULL, (ag_pool_options){0}));
    QUIET(nn_sequential_dropout(NULL, 0.5));
    QUIET(nn_sequential_flatten(NULL));
    QUIET(nn_sequential_residual(NULL, NULL));
    QUIET(nn_sgd_step(NULL, 1));
    QUIET(nn_sgd(NULL, (nn_sgd_options){0}));
    QUIET(nn_adam(NULL, (nn_adam_options){0}));
    QUIET(nn_adamw(NULL, (nn_adam_options){0}));
    QUIET(nn_rmsprop(NULL, (nn_rmsprop_options){0}));
    QUIET(nn_adagrad(NULL, (nn_adagrad_options){0}));
    QUIET(nn_lion(NULL, (nn_lion_options){0}));
    QUIET(nn_optimiser_free(NULL));
    QUIET(nn_optimiser_model(NULL));
    QUIET(nn_optimiser_step(NULL));
    QUIET(nn_optimiser_step_from(NULL, NULL));
    QUIET(nn_optimiser_steps(NULL));
    QUIET(nn_optimiser_rate(NULL));
    QUIET(nn_optimiser_set_rate(NULL, 1));
    QUIET(nn_optimiser_rate_factor(NULL, "*", 1));
    QUIET(nn_optimiser_decay(NULL, "*", 1));
    QUIET(nn_optimiser_scale(NULL, 1));
    QUIET(nn_optimiser_clip_norm(NULL, 1));
    QUIET(nn_optimiser_norm(NULL));
    QUIET(nn_optimiser_state(NULL, 0, &s));
    QUIET(nn_optimiser_schedule(NULL, (nn_schedule){0}));
    QUIET(nn_clip_norm(NULL, 1));
    QUIET(nn_clip_value(NULL, 1));
    QUIET(nn_average_new(NULL, 0.9));
    QUIET(nn_average_free(NULL));
    QUIET(nn_average_update(NULL));
    QUIET(nn_average_swap(NULL));
    QUIET(nn_average_state(NULL, 0, &s));
    QUIET(nn_lbfgs_new(NULL, (nn_lbfgs_options){0}));
    QUIET(nn_lbfgs_free(NULL));
    QUIET(nn_lbfgs_step(NULL, NULL, NULL));
    QUIET(nn_lbfgs_state(NULL, 0, &s));
    QUIET(nn_step_new(NULL, forward, NULL, (nn_step_options){0}));
    QUIET(nn_step_free(NULL));
    QUIET(nn_step_run(NULL, &none, 1, NN_VALUES));
    QUIET(nn_step_output(NULL, 0));
    QUIET(nn_step_find_nan(NULL, &none, 1, NULL, 0));
    QUIET(nn_model_summary(NULL, sink));
    ERROR(nn_model_save(NULL, "m", &e), "no model");
    ERROR(nn_model_load(NULL, "m", (nn_load_options){0}, &e), "m");
    ERROR(nn_checkpoint_save(NULL, "m", NULL, 0, &e), "no model");
    ERROR(nn_checkpoint_load(NULL, "m", NULL, 0, &e), "m");
    ERROR(nn_model_draw(NULL, forward, NULL, &none, 1, sink, &e), "no model");
    ERROR(nn_model_print_c(NULL, forward, NULL, (nn_c_options){0}, sink, &e), "no model");
    forward(NULL, &x, out);
}

static void layers(void **state) {
    (void)state;
    TAPE(nn_parameter(model, NULL, AG_SHAPE(2), NN_ZEROS), "no name");
    TAPE(nn_buffer(model, NULL, AG_SHAPE(2), NN_ZEROS), "no name");
    TAPE(nn_initialise(model, NULL, NN_ZEROS, 1), "");
    TAPE(nn_parameter_find(model, NULL), "");
    TAPE(nn_buffer_find(model, NULL), "");
    assert_false(nn_model_has(model, NULL));
    QUIET(nn_model_key(model, NULL));
    TAPE(nn_dense_init(model, NULL, 3, 2, (nn_dense_options){0}), "no name");
    TAPE(nn_embedding_init(model, NULL, 3, 2, (nn_embedding_options){0}), "no name");
    TAPE(nn_layer_norm_init(model, NULL, 3, (nn_norm_options){0}), "no name");
    TAPE(nn_rms_norm_init(model, NULL, 3, (nn_norm_options){0}), "no name");
    TAPE(nn_batch_norm_init(model, NULL, 3, (nn_batch_norm_options){0}), "no name");
    TAPE(nn_group_norm_init(model, NULL, 1, 3, (nn_norm_options){0}), "no name");
    TAPE(nn_conv_init(model, NN_CONV1D, NULL, 1, 1, 1, 1, (nn_conv_options){0}), "no name");
    TAPE(nn_dropout_init(model, NULL, 0.5), "no name");
    TAPE(nn_attention_init(model, NULL, 4, 2, (nn_attention_options){0}), "no name");
    TAPE(nn_block_init(model, NULL, 4, 2, (nn_block_options){0}), "no name");
    TAPE(nn_recurrent_init(model, NN_LSTM, NULL, 2, 2, (nn_recurrent_options){0}), "no name");
    TAPE(nn_sequential_new(model, NULL), "no name");
    TAPE(nn_sequential_add(net, NULL, NULL, 0), "no function");
    QUIET(nn_sequential_residual(net, NULL));
    TAPE(nn_embedding_apply((nn_embedding){.weight = dense.weight}, NULL, AG_SHAPE(2)), "NULL");
    TAPE(nn_block_apply(NULL, x, ag_num(0)), "NULL");
    TAPE(nn_recurrent_apply(NULL, x, (nn_recurrent_state){0}, NULL), "NULL");
    nn_activation activation;
    assert_false(nn_activation_find(NULL, &activation));
    assert_true(nn_activation_find("relu", NULL));
}

static ag_var apply_nothing(const void *layer, ag_var y) {
    (void)layer;
    return y;
}

static void losses_and_steps(void **state) {
    const nn_array none = {0};
    nn_state s;
    char text[8];
    (void)state;
    TAPE(nn_sequential_add(net, apply_nothing, NULL, 4), "NULL");
    TAPE(nn_softmax_cross_entropy(x, NULL, 2), "no labels");
    TAPE(nn_softmax_cross_entropy_with(x, NULL, 2, (nn_class_options){0}), "no labels");
    TAPE(nn_nll(x, NULL, 2, (nn_class_options){0}), "no labels");
    QUIET(nn_l2(NULL, 2));
    TAPE(nn_optimiser_rate_factor(sgd, NULL, 1), "");
    TAPE(nn_optimiser_decay(sgd, NULL, 1), "");
    TAPE(nn_optimiser_step_from(sgd, NULL), "no gradients");
    QUIET(nn_optimiser_state(sgd, 0, NULL));
    QUIET(nn_schedule_rate(nn_multi_step_schedule(1, 0.1, NULL, 2), 5));
    QUIET(nn_plateau_rate(NULL, 1));
    QUIET(nn_plateau_state(NULL, 0, &s));
    QUIET(nn_plateau_state(&(nn_plateau){.rate = 1}, 0, NULL));
    nn_average *average = nn_average_new(model, 0.9);
    QUIET(nn_average_state(average, 0, NULL));
    nn_average_free(average);
    nn_lbfgs *lbfgs = nn_lbfgs_new(model, (nn_lbfgs_options){0});
    TAPE(nn_lbfgs_step(lbfgs, NULL, NULL), "function");
    QUIET(nn_lbfgs_state(lbfgs, 0, NULL));
    nn_lbfgs_free(lbfgs);
    TAPE(nn_step_new(model, NULL, NULL, (nn_step_options){0}), "no function");
    TAPE(nn_step_run(step, NULL, 1, NN_VALUES), "");
    TAPE(nn_step_run(step, &none, 1, NN_VALUES), "no data");
    TAPE(nn_step_find_nan(step, NULL, 1, text, sizeof text), "");
    assert_false(nn_step_find_nan(step, &numbers, 1, NULL, 0));
    assert_false(nn_step_find_nan(step, &numbers, 1, NULL, 8));
}

/* ---- data ---- */

static void arrays_and_tables(void **state) {
    const nn_array none = {0};
    const nn_table no_table = {0};
    const char *const volatile no_format = NULL;
    const char *const missing[1] = {NULL};
    (void)state;
    QUIET(nn_fail(NULL, AG_ERR_VALUE, "nothing"));
    ERROR(nn_fail(&e, AG_ERR_VALUE, no_format, 1), "");
    QUIET(nn_array_free(NULL));
    QUIET(nn_array_count(NULL));
    QUIET(nn_array_at(NULL, 0));
    QUIET(nn_array_at(&none, 0));
    ERROR(nn_array_convert(NULL, NN_F32, &e), "NULL");
    ERROR(nn_array_convert(&none, NN_F32, &e), "");
    QUIET(nn_arrays_free(NULL));
    assert_null(nn_arrays_find(NULL, "a"));
    assert_null(nn_arrays_find(&(nn_arrays){0}, NULL));
    ERROR(nn_npy_read(NULL, &e), "NULL");
    ERROR(nn_npz_read(NULL, &e), "NULL");
    ERROR(nn_npy_write(NULL, &numbers, &e), "NULL");
    ERROR(nn_npy_write("a", NULL, &e), "NULL");
    ERROR(nn_npy_write("a", &none, &e), "");
    ERROR(nn_idx_read(NULL, &e), "NULL");
    ERROR(nn_csv_read(NULL, NULL, &e), "NULL");
    QUIET(nn_table_free(NULL));
    assert_int_equal(nn_table_find(NULL, "a"), -1);
    assert_int_equal(nn_table_find(&no_table, NULL), -1);
    ERROR(nn_table_columns(NULL, missing, 1, NN_F32, &e), "NULL");
    ERROR(nn_table_columns(&no_table, NULL, 1, NN_F32, &e), "NULL");
    ERROR(nn_table_columns(&no_table, missing, 1, NN_F32, &e), "NULL");
    ERROR(nn_table_column(&no_table, NULL, NN_F32, &e), "NULL");
    ERROR(nn_csv_write(NULL, &no_table, &e), "");
    ERROR(nn_csv_write("a", NULL, &e), "NULL");
    ERROR(nn_csv_write("a", &no_table, &e), "");
    ERROR(nn_text_read(NULL, &e), "NULL");
    ERROR(nn_vocabulary_of(NULL, 4, &e), "NULL");
    QUIET(nn_vocabulary_free(NULL));
    nn_vocabulary ab = nn_vocabulary_of("ab", 2, &e);
    ERROR(nn_encode(NULL, "ab", 2, &e), "NULL");
    ERROR(nn_encode(&ab, NULL, 2, &e), "NULL");
    char character[5];
    assert_int_equal(nn_decode(NULL, 0, character), 0);
    assert_int_equal(nn_decode(&ab, 0, NULL), 0);
    nn_vocabulary_free(&ab);
}

static void files(void **state) {
    const nn_tensor nameless = {.data = "abcd", .shape = {0}};
    const nn_safetensors closed = {0};
    const nn_text_pair half = {"key", NULL};
    (void)state;
    ERROR(nn_safetensors_open(NULL, &e), "NULL");
    QUIET(nn_safetensors_close(NULL));
    assert_null(nn_safetensors_find(NULL, "a"));
    assert_null(nn_safetensors_find(&closed, NULL));
    assert_null(nn_safetensors_metadata(NULL, "a"));
    assert_null(nn_safetensors_metadata(&closed, NULL));
    ERROR(nn_safetensors_read(NULL, "a", &e), "NULL");
    ERROR(nn_safetensors_read(&closed, NULL, &e), "NULL");
    ERROR(nn_safetensors_write(NULL, NULL, 0, NULL, 0, &e), "NULL");
    ERROR(nn_safetensors_write("a", NULL, 1, NULL, 0, &e), "NULL");
    ERROR(nn_safetensors_write("a", &nameless, 1, NULL, 0, &e), "name");
    ERROR(nn_safetensors_write("a", NULL, 0, NULL, 1, &e), "NULL");
    ERROR(nn_safetensors_write("a", NULL, 0, &half, 1, &e), "metadata 0");
    ERROR(nn_model_save(model, NULL, &e), "NULL");
    ERROR(nn_model_load(model, NULL, (nn_load_options){0}, &e), "NULL");
    ERROR(nn_model_load(model, "a", (nn_load_options){.renaming_count = 1}, &e), "array of renamings is NULL");
    const nn_renaming halves[] = {{NULL, "a"}, {"a", NULL}};
    for (int i = 0; i < 2; i++)
        ERROR(nn_model_load(model, "a", (nn_load_options){false, halves + i, 1}, &e), "a renaming's prefix in the");
    ERROR(nn_checkpoint_save(model, NULL, NULL, 0, &e), "NULL");
    ERROR(nn_checkpoint_save(model, "a", NULL, 1, &e), "NULL");
    ERROR(nn_checkpoint_load(model, NULL, NULL, 0, &e), "NULL");
    ERROR(nn_checkpoint_load(model, "a", NULL, 1, &e), "NULL");
    QUIET(nn_model_summary(model, NULL));
    ERROR(nn_model_draw(model, NULL, NULL, &numbers, 1, sink, &e), "function");
    ERROR(nn_model_draw(model, forward, NULL, NULL, 1, sink, &e), "");
    ERROR(nn_model_draw(model, forward, NULL, &numbers, 1, NULL, &e), "NULL");
    const ag_port port = ag_in("x", AG_SHAPE(1, 3));
    ERROR(nn_model_print_c(model, NULL, NULL, (nn_c_options){.inputs = &port, .input_count = 1}, sink, &e), "function");
    ERROR(nn_model_print_c(model, forward, NULL, (nn_c_options){.input_count = 1}, sink, &e), "");
    ERROR(nn_model_print_c(model, forward, NULL, (nn_c_options){.inputs = &port, .input_count = 1}, NULL, &e), "NULL");
    ERROR(nn_curves_svg(NULL, NULL, 0, NULL, &e), "NULL");
    ERROR(nn_curves_svg("a", NULL, 1, NULL, &e), "NULL");
    ERROR(nn_curves_svg("a", &(nn_curve){.count = 2}, 1, NULL, &e), "");
    ERROR(nn_png_write(NULL, &numbers, &e), "");
    ERROR(nn_png_write("a", NULL, &e), "NULL");
    ERROR(nn_image_grid(NULL, 0, 1, &e), "NULL");
}

static void sets_and_loaders(void **state) {
    nn_dataset part, others;
    nn_batch batch;
    nn_scale scale = {0};
    float data[3] = {0};
    (void)state;
    ERROR(nn_dataset_of(NULL, 1, &e), "NULL");
    ERROR(nn_dataset_windows(NULL, 2, 1, &e), "NULL");
    ERROR(nn_dataset_split(NULL, 0.5, 1, &part, &others, &e), "NULL");
    ERROR(nn_dataset_split(&set, 0.5, 1, NULL, &others, &e), "NULL");
    ERROR(nn_dataset_split(&set, 0.5, 1, &part, NULL, &e), "NULL");
    ERROR(nn_dataset_slice(NULL, 0, 1, &e), "NULL");
    QUIET(nn_dataset_free(NULL));
    ERROR(nn_scale_fit(NULL, 0, NN_PER_FIELD, &e), "NULL");
    QUIET(nn_scale_free(NULL));
    ERROR(nn_scale_apply(NULL, NN_F32, data, 1, 3, &e), "NULL");
    ERROR(nn_scale_apply(&scale, NN_F32, data, 1, 3, &e), "");
    ERROR(nn_scale_apply(&scale, NN_F32, NULL, 1, 3, &e), "");
    ERROR(nn_loader_new(NULL, &(nn_loader_options){.batch = 1}, &e), "NULL");
    ERROR(nn_loader_new(&set, NULL, &e), "NULL");
    ERROR(nn_loader_next(NULL, &batch, &e), "NULL");
    ERROR(nn_loader_next(loader, NULL, &e), "NULL");
    QUIET(nn_loader_batches(NULL));
    QUIET(nn_loader_where(NULL));
    ERROR(nn_loader_seek(NULL, (nn_loader_state){0}, &e), "NULL");
    QUIET(nn_loader_free(NULL));
}

static void metrics_and_training(void **state) {
    (void)state;
    QUIET(nn_meter_free(NULL));
    QUIET(nn_meter_reset(NULL));
    QUIET(nn_meter_add(NULL, &numbers, &labels, &e));
    QUIET(nn_meter_value(NULL));
    QUIET(nn_meter_confusion(NULL, NULL));
    nn_meter *meter = nn_meter_new((nn_metric){.kind = NN_ACCURACY}, &e);
    ERROR(nn_meter_add(meter, NULL, &labels, &e), "no predictions");
    ERROR(nn_meter_add(meter, &numbers, NULL, &e), "no targets");
    nn_meter_add(meter, &numbers, &labels, &e);
    QUIET(nn_meter_confusion(meter, NULL));
    nn_meter_free(meter);
    assert_int_equal(e.status, AG_OK);
    ERROR(nn_fit(NULL, &e), "NULL");
    ERROR(nn_fit(&(nn_fit_options){.optimiser = sgd, .train = loader, .epochs = 1}, &e), "step");
    ERROR(nn_fit(&(nn_fit_options){.step = step, .train = loader, .epochs = 1}, &e), "optimiser");
    ERROR(nn_fit(&(nn_fit_options){.step = step, .optimiser = sgd, .epochs = 1}, &e), "train");
}

/* Without an nn_error nothing is done. */
static void no_error(void **state) {
    nn_batch batch;
    nn_array none = nn_array_new(NN_F32, AG_SHAPE(2), NULL);
    (void)state;
    assert_null(none.data);
    assert_null(nn_npy_read("a", NULL).data);
    assert_null(nn_csv_read("a", NULL, NULL).values.data);
    assert_null(nn_safetensors_open("a", NULL).tensors);
    QUIET(nn_npy_write("a", &numbers, NULL));
    QUIET(nn_model_save(model, "a", NULL));
    QUIET(nn_checkpoint_save(model, "a", NULL, 0, NULL));
    assert_null(nn_loader_new(&set, &(nn_loader_options){.batch = 2}, NULL));
    assert_false(nn_loader_next(loader, &batch, NULL));
    assert_int_equal(
        nn_fit(&(nn_fit_options){.step = step, .optimiser = sgd, .train = loader, .epochs = 1}, NULL).ending,
        NN_FAILED);
}

/* ---- derivations ---- */

static void derivations(void **state) {
    nn_backward_report backward = {0};
    nn_closed_form_report report = {0};
    int count;
    (void)state;
    QUIET(nn_check_backward(NULL, 1, 1, &backward));
    assert_int_equal(backward.status, AG_ERR_VALUE);
    QUIET(nn_check_backward(&(nn_backward){.name = "a"}, 1, 1, NULL));
    QUIET(nn_check_backward(&(nn_backward){0}, 1, 1, &backward));
    assert_int_equal(backward.status, AG_ERR_VALUE);
    QUIET(nn_backward_write(NULL, sink));
    QUIET(nn_backward_write(&backward, NULL));
    const nn_closed_form *forms = nn_closed_forms(&count);
    QUIET(nn_closed_forms(NULL));
    assert_null(nn_closed_form_find(NULL));
    QUIET(nn_closed_form_check(NULL, 1, 1, &report));
    assert_int_equal(report.status, AG_ERR_VALUE);
    QUIET(nn_closed_form_check(&forms[0], 1, 1, NULL));
    QUIET(nn_closed_form_write(NULL, &report, sink));
    QUIET(nn_closed_form_write(&forms[0], NULL, sink));
    QUIET(nn_closed_form_write(&forms[0], &report, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_model),
        cmocka_unit_test(layers),
        cmocka_unit_test(losses_and_steps),
        cmocka_unit_test(arrays_and_tables),
        cmocka_unit_test(files),
        cmocka_unit_test(sets_and_loaders),
        cmocka_unit_test(metrics_and_training),
        cmocka_unit_test(no_error),
        cmocka_unit_test(derivations),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
