/* The price of houses from a table with numbers, gaps and a category, by a small network: R2 on rows that it never saw.
 *
 *     tabular --data FOLDER
 *
 * About 0.8 on the 20,640 districts of California, 1990 (Pace, Barry, 1997). */
#include "districts.h"

static const char *const help =
    "FOLDER holds housing.csv: California's districts with gaps and a category, to be found as "
    "datasets/housing/housing.csv\n"
    "at https://github.com/ageron/handson-ml2. Without it, a file of invented districts is written and read.\n";

enum { NUMBERS = 8 }; /* columns of numbers, before the category and the price */
static const char *const columns[] = {"longitude",       "latitude",          "housing_median_age", "total_rooms",
                                      "total_bedrooms",  "population",        "households",         "median_income",
                                      "ocean_proximity", "median_house_value"};
static const char *const category = "ocean_proximity", *const price = "median_house_value";

typedef struct net {
    int64_t places;
    nn_dense layers[3];
} net;

static net make_net(nn_model *model, int64_t places) {
    nn_dense_options relu = {.initial = NN_HE_NORMAL};
    return (net){places,
                 {nn_dense_init(model, "first", NUMBERS + places, 64, relu),
                  nn_dense_init(model, "second", 64, 64, relu),
                  nn_dense_init(model, "price", 64, 1, (nn_dense_options){0})}};
}

/* Fields: numbers (n, NUMBERS), the place's number (n), prices (n). Outputs: the loss, prices. */
static void forward(void *context, const ag_var *batch, ag_var *out) {
    const net *n = context;
    ag_tape *tape = ag_tape_of(batch[0]);
    ag_var place =
        ag_eq(ag_unsqueeze(batch[1], 1), ag_arange(tape, 0, 1, n->places)); /* (n, places), a single 1 a row */
    ag_var x = ag_concat((const ag_var[]){batch[0], place}, 2, 1);
    for (int i = 0; i < 2; i++) x = ag_silu(nn_dense_apply(n->layers[i], x));
    out[1] = ag_squeeze(nn_dense_apply(n->layers[2], x), 1);
    out[0] = nn_huber(out[1], batch[2], 1);
}

static double fit(nn_model *model, net *n, nn_loader *train, nn_loader *test, int64_t epochs, nn_error *e) {
    nn_step *step = nn_step_new(model, forward, n, (nn_step_options){.outputs = 2, .traced = true});
    nn_optimiser *adam = nn_adamw(model, (nn_adam_options){.rate = 2e-3});
    nn_optimiser_schedule(adam, nn_cosine_schedule(2e-3, 0, epochs * nn_loader_batches(train)));
    nn_fitted fitted = nn_fit(&(nn_fit_options){.step = step,
                                                .optimiser = adam,
                                                .train = train,
                                                .validation = test,
                                                .epochs = epochs,
                                                .metrics = {{.kind = NN_R2, .field = 2}},
                                                .metric_count = 1,
                                                .progress = stdout,
                                                .curves = "tabular.svg"},
                              e);
    nn_optimiser_free(adam);
    nn_step_free(step);
    return fitted.last.epoch == epochs ? fitted.last.metrics[0] : NAN;
}

int main(int argc, char **argv) {
    const char *folder = data_folder(argc, argv, help), *path = "housing.csv";
    nn_error e = {0};
    if (folder == NULL) invent_districts(path, columns, &e);
    else path = path_in(folder, path);
    nn_table table = nn_csv_read(
        path,
        &(nn_csv_options){
            .columns = columns, .column_count = 10, .texts = &category, .text_count = 1, .missing = NN_MISSING_NAN},
        &e);
    nn_array arrays[3] = {nn_table_columns(&table, columns, NUMBERS, NN_F64, &e),
                          nn_table_column(&table, category, NN_I64, &e), nn_table_column(&table, price, NN_F64, &e)};
    nn_dataset all = nn_dataset_of(arrays, 3, &e), train, test;
    nn_dataset_split(&all, 0.8, 1, &train, &test, &e);
    nn_scale numbers = nn_scale_fit(&train, 0, NN_PER_ELEMENT, &e), prices = nn_scale_fit(&train, 2, NN_PER_FIELD, &e);
    numbers.fill_missing = true;
    nn_loader_options options = {
        .batch = 64, .shuffle = true, .seed = 1, .fields = {{.scale = &numbers}, {0}, {.scale = &prices}}};
    nn_loader *train_batches = nn_loader_new(&train, &options, &e);
    options.shuffle = false, options.batch = 1000;
    nn_loader *test_batches = nn_loader_new(&test, &options, &e);

    ag_tape *tape = ag_tape_new(AG_F32);
    nn_model *model = nn_model_new(tape, 1);
    int64_t places = e.status == AG_OK ? table.categories[nn_table_find(&table, category)].count : 1;
    net n = make_net(model, places);
    if (e.status == AG_OK)
        printf("%s: %lld districts to learn from, %lld to test with\n", path, (long long)train.count,
               (long long)test.count);
    double r2 = fit(model, &n, train_batches, test_batches, folder != NULL ? 40 : 20, &e);

    if (!isnan(r2)) printf("R2 of the test rows is %.3f; curves in tabular.svg\n", r2);
    int status = end_of_training(&e, r2, r2 >= (folder != NULL ? 0.75 : 0.9));
    nn_model_free(model);
    ag_tape_free(tape);
    nn_loader_free(train_batches);
    nn_loader_free(test_batches);
    nn_scale_free(&numbers);
    nn_scale_free(&prices);
    nn_dataset_free(&train);
    nn_dataset_free(&test);
    nn_dataset_free(&all);
    for (int i = 0; i < 3; i++) nn_array_free(&arrays[i]);
    nn_table_free(&table);
    return status;
}
