/* apic_bus - who is addressed by an interrupt message (Intel SDM volume 3, 11.6.2 and 11.12.10).
 * Any thread sends: nothing here is locked. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct lapic;

enum apic_mode {
	APIC_FIXED = 0,
	APIC_LOWEST = 1,
	APIC_SMI = 2,
	APIC_NMI = 4,
	APIC_INIT = 5,
	APIC_STARTUP = 6,
	APIC_EXTINT = 7,
};

/* As the shorthand field of the interrupt command register numbers them. */
enum apic_who { APIC_DESTINATION, APIC_SELF, APIC_ALL, APIC_OTHERS };

#define APIC_BROADCAST UINT32_MAX

struct apic_message {
	enum apic_mode mode;
	enum apic_who who;
	uint8_t vector;
	bool is_logical, is_level;
	bool is_hinted; /* one of those addressed is enough (redirection hint) */
	uint32_t destination;
};

struct apic_bus {
	struct lapic *lapics; /* borrowed; the index is the APIC's id */
	unsigned count;
	atomic_uint turn; /* where the search for the least busy one starts */
	/* wake: an APIC has something new.  end: a level-triggered interrupt was handled. */
	void (*wake)(void *context, unsigned id);
	void (*end)(void *context, uint8_t vector);
	void *context;
};

/* An 8-bit destination, as the older registers and messages have it. */
uint32_t apic_bus_destination8(uint32_t destination);

/* sender: for the shorthands; else it may be NULL.  Whether an APIC took the message. */
bool apic_bus_send(struct apic_bus *bus, const struct lapic *sender, const struct apic_message *m);
/* A message-signalled interrupt (11.11). */
bool apic_bus_send_msi(struct apic_bus *bus, uint64_t address, uint32_t data);
