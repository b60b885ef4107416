/* Two threads, each bound to a processor, write half of some memory, then read all of it twice. Prints,
 * for each of so many windows, the mean microseconds of each of the three. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { NUMBERS = 1 << 17, ROUNDS = 60, PARTS = 3 };   /* of 8 bytes: a megabyte */

static uint64_t *memory;
static atomic_int arrived, met;
static int processor[2], windows;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return 1e6 * (double)time.tv_sec + 1e-3 * (double)time.tv_nsec;
}

static double meet(void)
{
    const int round = atomic_load(&met);
    if (atomic_fetch_add(&arrived, 1) == 1) {
        atomic_store(&arrived, 0);
        atomic_store(&met, round + 1);
    } else
        for (int spins = 0; atomic_load(&met) == round; spins++)
            if (spins > 10000)    /* another program has the other's processor */
                sched_yield();
    return now();
}

static void read_all(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < NUMBERS; i++)
        sum += memory[i];
    __asm__ volatile("" : : "r"(sum) : "memory");
}

static void *work(void *argument)
{
    const int thread = *(const int *)argument;
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(processor[thread], &own);
    sched_setaffinity(0, sizeof own, &own);
    for (int window = 0; window < windows; window++) {
        double spent[PARTS] = {0};
        for (int round = 0; round < ROUNDS; round++) {
            const double began = meet();
            for (int i = thread * NUMBERS / 2; i < (thread + 1) * NUMBERS / 2; i++)
                memory[i] = (uint64_t)round;
            const double written = meet();
            read_all();
            const double read = meet();
            read_all();
            const double again = meet();
            spent[0] += written - began;
            spent[1] += read - written;
            spent[2] += again - read;
        }
        if (thread == 0)
            printf("%g %g %g\n", spent[0] / ROUNDS, spent[1] / ROUNDS, spent[2] / ROUNDS);
    }
    return NULL;
}

int main(int count, char **arguments)
{
    cpu_set_t allowed;
    if (count != 2 || sched_getaffinity(0, sizeof allowed, &allowed))
        return 2;
    int found = 0;
    for (int i = 0; i < CPU_SETSIZE && found < 2; i++)
        if (CPU_ISSET(i, &allowed))
            processor[found++] = i;
    windows = atoi(arguments[1]);
    memory = aligned_alloc(64, NUMBERS * sizeof *memory);
    if (found < 2 || !memory)
        return 2;
    pthread_t other;
    int numbers[2] = { 0, 1 };
    if (pthread_create(&other, NULL, work, &numbers[1]))
        return 2;
    work(&numbers[0]);
    pthread_join(other, NULL);
    free(memory);
    return 0;
}
