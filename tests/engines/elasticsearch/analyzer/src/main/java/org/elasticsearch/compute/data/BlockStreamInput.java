package org.elasticsearch.compute.data;

import org.elasticsearch.common.io.stream.FilterStreamInput;
import org.elasticsearch.common.io.stream.StreamInput;

/** A placeholder: classes of the front end are linked against this type and its parent. */
public abstract class BlockStreamInput extends FilterStreamInput {
    protected BlockStreamInput(StreamInput delegate) {
        super(delegate);
    }
}
