/* shootdown - whether one processor keeps pages that another one has taken away: pages are
 * remapped, write-protected, unmapped and copied on write under threads that use them all the time.
 * Prints what it found, one line for each. */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS = 400, PAGE = 4096 };

static atomic_uint promised, wrong, reads;
static atomic_bool is_over;
static uint32_t *volatile page;
static __thread sigjmp_buf back;

static void on_fault(int number)
{
	(void)number;
	siglongjmp(back, 1);
}

static uint32_t *map_at(void *at, int fd, unsigned index)
{
	return mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | (at != NULL ? MAP_FIXED : 0), fd,
		(off_t)index * PAGE);
}

/* What is read was there when the read began, or later. */
static void *read_pages(void *unused)
{
	(void)unused;
	while (!atomic_load(&is_over)) {
		unsigned least = atomic_load(&promised);
		if (sigsetjmp(back, 0) == 0 && *page < least)
			(void)atomic_fetch_add(&wrong, 1);
		(void)atomic_fetch_add(&reads, 1);
	}
	return NULL;
}

static void *write_pages(void *unused)
{
	(void)unused;
	while (!atomic_load(&is_over)) {
		if (sigsetjmp(back, 0) == 0)
			page[1]++;
		(void)atomic_fetch_add(&reads, 1);
	}
	return NULL;
}

static void let_it_run(void)
{
	unsigned seen = atomic_load(&reads);
	while (atomic_load(&reads) - seen < 3)
		(void)usleep(50);
}

static unsigned with_thread(void *(*body)(void *), void (*change)(int fd, unsigned round), int fd)
{
	pthread_t thread;
	atomic_store(&is_over, false);
	atomic_store(&wrong, 0);
	(void)pthread_create(&thread, NULL, body, NULL);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		change(fd, round);
		let_it_run();
	}
	atomic_store(&is_over, true);
	(void)pthread_join(thread, NULL);
	return atomic_load(&wrong);
}

static void remap(int fd, unsigned round)
{
	(void)map_at(page, fd, round);
	atomic_store(&promised, round);
}

/* In between nothing is there. */
static void unmap(int fd, unsigned round)
{
	(void)munmap(page, PAGE);
	atomic_store(&promised, ROUNDS + 1); /* nothing is as much: who reads it is wrong */
	let_it_run();
	atomic_store(&promised, 0);
	let_it_run();
	(void)map_at(page, fd, round);
}

static void protect(int fd, unsigned round)
{
	(void)fd, (void)round;
	(void)mprotect(page, PAGE, PROT_READ);
	uint32_t before = page[1];
	let_it_run();
	if (page[1] != before)
		(void)atomic_fetch_add(&wrong, 1);
	(void)mprotect(page, PAGE, PROT_READ | PROT_WRITE);
}

/* The child keeps what was there when it was made, whatever the thread writes. */
static void fork_beside(int fd, unsigned round)
{
	(void)fd;
	if (round % 8 != 0)
		return;
	pid_t child = fork();
	if (child == 0) {
		uint32_t before = page[1];
		(void)usleep(2000);
		_exit(page[1] != before);
	}
	int status = 1;
	(void)waitpid(child, &status, 0);
	if (status != 0)
		(void)atomic_fetch_add(&wrong, 1);
}

int main(void)
{
	const struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
	(void)sigaction(SIGSEGV, &action, NULL);
	int fd = memfd_create("pages", 0);
	if (fd < 0 || ftruncate(fd, (ROUNDS + 1) * PAGE) < 0)
		return 1;
	for (unsigned i = 0; i <= ROUNDS; i++) {
		uint32_t *p = map_at(NULL, fd, i);
		*p = i;
		(void)munmap(p, PAGE);
	}
	page = map_at(NULL, fd, 0);
	printf("remapped: %u wrong\n", with_thread(read_pages, remap, fd));
	printf("unmapped: %u wrong\n", with_thread(read_pages, unmap, fd));
	printf("protected: %u wrong\n", with_thread(write_pages, protect, fd));
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	printf("copied: %u wrong\n", with_thread(write_pages, fork_beside, fd));
	return 0;
}
