package org.elasticsearch.compute.operator;

import org.elasticsearch.core.TimeValue;

/** A placeholder: QueryPragmas reads this constant when it is loaded. */
public final class Driver {
    public static final TimeValue DEFAULT_STATUS_INTERVAL = TimeValue.timeValueSeconds(1);
}
