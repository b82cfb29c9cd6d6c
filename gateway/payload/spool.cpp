#include "payload/spool.hpp"
