/* pic - the pair of 8259A interrupt controllers, the second on input 2 of the first.  The owner
 * holds a lock around every call. */
#pragma once

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct pic {
	struct kvm_pic_state chips[2];
};

void pic_init(struct pic *pic);
void pic_set_line(struct pic *pic, unsigned irq, bool level);
/* Whether the processor's interrupt line is up. */
bool pic_output(const struct pic *pic);
/* The processor's acknowledge cycle: the vector. */
uint8_t pic_acknowledge(struct pic *pic);
/* Ports 0x20, 0x21, 0xa0, 0xa1, 0x4d0 and 0x4d1. */
bool pic_has_port(uint16_t port);
uint8_t pic_read(struct pic *pic, uint16_t port);
void pic_write(struct pic *pic, uint16_t port, uint8_t value);
/* One chip in KVM's format. */
void pic_set(struct pic *pic, unsigned chip, const struct kvm_pic_state *state);
