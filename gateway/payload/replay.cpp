#include "payload/replay.hpp"
