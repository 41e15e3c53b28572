// The roles that need no database, and what a program around them needs. Whoever wants one part includes that part.
#pragma once

#include <cohort/leecher.hpp>
#include <cohort/net/real_network.hpp>
#include <cohort/seeder.hpp>
#include <cohort/storage/make_torrent.hpp>
#include <cohort/storage/real_disk.hpp>
#include <cohort/storage/torrent_file.hpp>
#include <cohort/tracker.hpp>
