/* A hand-written model with the C interface of generated ones: x -> tanh(sparse linear) -> dense
   linear -> loss, trained with momentum 0.9. Plain loops over samples; what it lacks in speed it has
   in being easy to check. Configured by the macros that the Python side puts before it. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#define MOMENTUM ((real)0.9)
#define HIDDEN_PARAMETER 0
#define HIDDEN_BIAS 1
#define OUTPUT_PARAMETER 2
#define OUTPUT_BIAS 3
#define PARAMETERS 4

struct nerva_model {
    real *value[PARAMETERS];
    real *velocity[PARAMETERS];
    real *gradient[PARAMETERS];
    int64_t row_start[HIDDEN + 1];
    Index column[NNZ];
    int64_t nnz;                           /* derived by nerva_index */
    real hidden[BATCH][HIDDEN];
    real output[BATCH][OUTPUTS];
    real delta[BATCH][OUTPUTS];
};

static const int64_t lengths[PARAMETERS] = {NNZ, HIDDEN, (int64_t)OUTPUTS * HIDDEN, OUTPUTS};

nerva_model *nerva_create(void)
{
    if (OUT_OF_MEMORY)
        return NULL;
    nerva_model *model = calloc(1, sizeof *model);
    if (!model)
        return NULL;
    for (int p = 0; p < PARAMETERS; ++p) {
        model->value[p] = calloc((size_t)lengths[p], sizeof(real));
        model->velocity[p] = calloc((size_t)lengths[p], sizeof(real));
        model->gradient[p] = calloc((size_t)lengths[p], sizeof(real));
        if (!model->value[p] || !model->velocity[p] || !model->gradient[p]) {
            nerva_destroy(model);
            return NULL;
        }
    }
    return model;
}

void nerva_destroy(nerva_model *model)
{
    if (!model)
        return;
    for (int p = 0; p < PARAMETERS; ++p) {
        free(model->value[p]);
        free(model->velocity[p]);
        free(model->gradient[p]);
    }
    free(model);
}

real *nerva_value(nerva_model *model, int parameter) { return model->value[parameter]; }

real *nerva_state(nerva_model *model, int parameter, int state)
{
    return state == 0 ? model->velocity[parameter] : NULL;
}

int64_t *nerva_row_start(nerva_model *model, int parameter)
{
    return parameter == HIDDEN_PARAMETER ? model->row_start : NULL;
}

Index *nerva_column(nerva_model *model, int parameter)
{
    return parameter == HIDDEN_PARAMETER ? model->column : NULL;
}

int nerva_index(nerva_model *model, int parameter)
{
    if (parameter == HIDDEN_PARAMETER)
        model->nnz = model->row_start[HIDDEN];
    return 0;
}

double nerva_learning_rate(double epoch, double epochs, double step)
{
    (void)step;
    return 2 * epoch < epochs ? 0.1 : 0.01;
}

/* One batch forward. Returns 0, 1 for an input or 2 for a loss that is not finite. */
static int forward(nerva_model *model, const nerva_job *job, int64_t from, int64_t count,
                   nerva_report *report)
{
    const element *inputs = job->x;
    for (int64_t s = 0; s < count; ++s) {
        int64_t row = job->order ? job->order[from + s] : from + s;
        for (int64_t i = 0; i < FEATURES; ++i) {
            if (!isfinite((double)inputs[row * FEATURES + i])) {
                report->row = row;
                report->feature = i;
                return 1;
            }
        }
    }
    int threads = job->threads ? job->threads : 2;
#pragma omp parallel for num_threads(threads)
    for (int64_t s = 0; s < count; ++s) {
        int64_t row = job->order ? job->order[from + s] : from + s;
        const element *x = inputs + row * FEATURES;
        for (int h = 0; h < HIDDEN; ++h) {
            real sum = model->value[HIDDEN_BIAS][h];
            for (int64_t k = model->row_start[h]; k < model->row_start[h + 1]; ++k)
                sum += model->value[HIDDEN_PARAMETER][k] * (real)x[model->column[k]];
            model->hidden[s][h] = (real)tanh((double)sum);
        }
        for (int o = 0; o < OUTPUTS; ++o) {
            real sum = model->value[OUTPUT_BIAS][o];
            for (int h = 0; h < HIDDEN; ++h)
                sum += model->value[OUTPUT_PARAMETER][o * HIDDEN + h] * model->hidden[s][h];
            model->output[s][o] = sum;
        }
    }
    return 0;
}

/* Losses of a batch, added to `totals` if all are finite, and their derivatives in `delta`. */
static int losses(nerva_model *model, const nerva_job *job, int64_t from, int64_t count,
                  nerva_report *report)
{
    double loss = 0, accuracy = 0;
    for (int64_t s = 0; s < count; ++s) {
        int64_t row = job->order ? job->order[from + s] : from + s;
        const real *y = model->output[s];
#if TARGET == 1
        int32_t label = ((const int32_t *)job->t)[row];
        int best = 0;
        for (int o = 1; o < OUTPUTS; ++o)
            if (y[o] > y[best])
                best = o;
        double sum = 0;
        for (int o = 0; o < OUTPUTS; ++o)
            sum += exp((double)(y[o] - y[best]));
        loss += log(sum) - (double)(y[label] - y[best]);
        accuracy += best == label;
        for (int o = 0; o < OUTPUTS; ++o)
            model->delta[s][o] = (real)(exp((double)(y[o] - y[best])) / sum) - (real)(o == label);
#else
        for (int o = 0; o < OUTPUTS; ++o) {
#if TARGET == 2
            real t = ((const real *)job->t)[row * OUTPUTS + o];
#else
            real t = (real)((const element *)job->x)[row * FEATURES + o];
#endif
            loss += (double)((y[o] - t) * (y[o] - t));
            model->delta[s][o] = 2 * (y[o] - t);
        }
#endif
    }
    if (!isfinite(loss)) {
        report->layer = 1;
        return 2;
    }
    report->totals[0] += loss;
    report->totals[1] += accuracy;
    return 0;
}

static void backward(nerva_model *model, const nerva_job *job, int64_t from, int64_t count)
{
    const element *inputs = job->x;
    for (int p = 0; p < PARAMETERS; ++p)
        memset(model->gradient[p], 0, (size_t)lengths[p] * sizeof(real));
    for (int64_t s = 0; s < count; ++s) {
        int64_t row = job->order ? job->order[from + s] : from + s;
        const element *x = inputs + row * FEATURES;
        for (int o = 0; o < OUTPUTS; ++o) {
            real d = model->delta[s][o] / (real)count;
            model->gradient[OUTPUT_BIAS][o] += d;
            for (int h = 0; h < HIDDEN; ++h)
                model->gradient[OUTPUT_PARAMETER][o * HIDDEN + h] += d * model->hidden[s][h];
        }
        for (int h = 0; h < HIDDEN; ++h) {
            real d = 0, y = model->hidden[s][h];
            for (int o = 0; o < OUTPUTS; ++o)
                d += model->value[OUTPUT_PARAMETER][o * HIDDEN + h] * model->delta[s][o];
            d *= (1 - y * y) / (real)count;
            model->gradient[HIDDEN_BIAS][h] += d;
            for (int64_t k = model->row_start[h]; k < model->row_start[h + 1]; ++k)
                model->gradient[HIDDEN_PARAMETER][k] += d * (real)x[model->column[k]];
        }
    }
}

static int fail(nerva_report *report, int error)
{
    report->error = error;
    return error;
}

static int64_t batch_at(const nerva_job *job, int64_t position)
{
    int64_t rest = job->samples - position;
    return rest < BATCH ? rest : BATCH;
}

static int stopped(nerva_report *report)
{
    if (DELAY) {
        struct timespec pause = {0, DELAY};
        thrd_sleep(&pause, NULL);
    }
    return __atomic_load_n(&report->stop, __ATOMIC_RELAXED);
}

int nerva_train(nerva_model *model, const nerva_job *job, nerva_report *report)
{
    while (report->samples < job->samples && !stopped(report)) {
        int64_t from = report->samples, count = batch_at(job, from);
        int error = forward(model, job, from, count, report);
        if (!error)
            error = losses(model, job, from, count, report);
        if (error)
            return fail(report, error);
        backward(model, job, from, count);
        double rate = job->learning_rate;
        if (isnan(rate))
            rate = nerva_learning_rate((double)job->epoch, (double)job->epochs,
                                       (double)(report->step + 1));
        for (int p = 0; p < PARAMETERS; ++p) {
            int64_t length = p == HIDDEN_PARAMETER ? model->nnz : lengths[p];
            for (int64_t k = 0; k < length; ++k) {
                real v = MOMENTUM * model->velocity[p][k] - (real)rate * model->gradient[p][k];
                model->velocity[p][k] = v;
                model->value[p][k] += v;
            }
        }
        ++report->step;
        report->samples = from + count;
    }
    return 0;
}

int nerva_masks(nerva_model *model, const nerva_job *job, nerva_report *report, real **masks)
{
    (void)model, (void)job, (void)masks;
    return report->error;
}

int nerva_evaluate(nerva_model *model, const nerva_job *job, nerva_report *report, int64_t *counts)
{
    (void)counts;
    while (report->samples < job->samples && !stopped(report)) {
        int64_t count = batch_at(job, report->samples);
        int error = forward(model, job, report->samples, count, report);
        if (!error)
            error = losses(model, job, report->samples, count, report);
        if (error)
            return fail(report, error);
        report->samples += count;
    }
    return 0;
}

int nerva_predict(nerva_model *model, const nerva_job *job, nerva_report *report, real *output)
{
    while (report->samples < job->samples && !stopped(report)) {
        int64_t count = batch_at(job, report->samples);
        int error = forward(model, job, report->samples, count, report);
        if (error)
            return fail(report, error);
        memcpy(output + report->samples * OUTPUTS, model->output,
               (size_t)count * OUTPUTS * sizeof(real));
        report->samples += count;
    }
    return 0;
}

int nerva_few(void)
{
    return 1;
}

int nerva_predict_few(nerva_model *model, const void *x, int64_t samples, nerva_report *report,
                      void *output)
{
    const nerva_job job = {.x = x, .samples = samples};
    report->samples = 0;
    report->error = 0;
    return nerva_predict(model, &job, report, output);
}

int nerva_gradients(nerva_model *model, const nerva_job *job, nerva_report *report,
                    real **gradients)
{
    int error = forward(model, job, 0, job->samples, report);
    if (!error)
        error = losses(model, job, 0, job->samples, report);
    if (error)
        return fail(report, error);
    backward(model, job, 0, job->samples);
    for (int p = 0; p < PARAMETERS; ++p)
        memcpy(gradients[p], model->gradient[p], (size_t)lengths[p] * sizeof(real));
    return 0;
}
